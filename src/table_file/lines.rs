//! Line numbers of places in a text.

/// Counter of lines. Places are asked for in ascending order, so a whole file is counted once.
pub(super) struct Lines<'t> {
    text: &'t [u8],
    counted: usize,
    line: u64,
}

impl<'t> Lines<'t> {
    /// Starts at the first line, number 1.
    pub(super) fn new(text: &'t str) -> Self {
        Self { text: text.as_bytes(), counted: 0, line: 1 }
    }

    /// Returns the line at this byte of the text. A line ends with a line feed, a carriage return,
    /// or both.
    pub(super) fn at(&mut self, byte: usize) -> u64 {
        let byte = byte.min(self.text.len());
        while self.counted < byte {
            let is_end = match self.text.get(self.counted) {
                Some(b'\n') => true,
                Some(b'\r') => self.text.get(self.counted + 1) != Some(&b'\n'),
                _ => false,
            };
            self.line += u64::from(is_end);
            self.counted += 1;
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_end_counts_once() {
        let text = "a\r\nb\rc\n\nd";
        let mut lines = Lines::new(text);
        let numbers: Vec<u64> =
            ['a', 'b', 'c', 'd'].iter().map(|letter| lines.at(text.find(*letter).unwrap())).collect();
        assert_eq!(numbers, [1, 2, 3, 5]);
        assert_eq!(lines.at(usize::MAX), 5);
    }
}
