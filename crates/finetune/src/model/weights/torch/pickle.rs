//! A pickle machine for tensors only.
//!
//! A pickle is a program: Python's own machine imports and calls whatever the file names. This one
//! knows the instructions that dictionaries of tensors are written with, and the few functions that
//! rebuild a tensor. It refuses every other instruction and name, calls nothing, and imports
//! nothing. Values lie in one list and refer to each other by number, so that no nesting of the file
//! becomes nesting of our calls.

use std::collections::HashMap;

/// Largest number of instructions. A tensor takes about thirty.
const MAX_INSTRUCTIONS: usize = 4_000_000;
/// Newest protocol that is read.
const MAX_PROTOCOL: u8 = 5;

/// Error of reading a pickle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PickleError {
    /// The pickle is cut short, or its values don't fit together.
    Damaged(&'static str),
    /// The pickle needs something that no tensor needs, in words.
    Refused(String),
}

/// Type of a storage's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StorageType(pub(super) safetensors::Dtype);

/// A tensor: a window of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor {
    /// Type of the numbers.
    pub(super) kind: StorageType,
    /// Key of the storage in the file.
    pub(super) storage: String,
    /// Number of elements in the storage.
    pub(super) length: u64,
    /// Index of the tensor's first element in the storage.
    pub(super) offset: u64,
    /// Length of each dimension.
    pub(super) shape: Vec<usize>,
}

/// Tensors with their names, in the order of the file.
pub(super) type NamedTensors = Vec<(String, Tensor)>;

/// Number of a value in the machine's list.
type Id = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(StorageType),
}

#[derive(Debug, Clone)]
enum Value {
    /// None or a float: nothing that a tensor is read by.
    Other,
    /// An integer, or a flag as 1 or 0.
    Integer(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage {
        kind: StorageType,
        key: Id,
        length: u64,
    },
    Tensor(Tensor),
}

/// Returns the named tensors of a pickled dictionary, in its order, and the bytes after the pickle.
/// Entries that are no tensors are left out.
pub(super) fn tensors(pickle: &[u8]) -> Result<(NamedTensors, &[u8]), PickleError> {
    let mut machine = Machine { input: pickle, ..Machine::default() };
    let top = machine.run()?;
    let Value::Dict(entries) = &machine.values[top] else {
        return Err(PickleError::Refused("something other than a dictionary of tensors".to_owned()));
    };
    let mut found = NamedTensors::new();
    let mut places = HashMap::new();
    for (key, value) in entries {
        let (Value::Text(name), Value::Tensor(tensor)) = (&machine.values[*key], &machine.values[*value])
        else {
            continue;
        };
        // As in Python, a later entry of a name replaces the earlier one.
        match places.get(name) {
            Some(place) => found[*place] = (name.clone(), tensor.clone()),
            None => {
                places.insert(name.clone(), found.len());
                found.push((name.clone(), tensor.clone()));
            }
        }
    }
    if found.is_empty() {
        return Err(PickleError::Refused("no tensor at its top level".to_owned()));
    }
    Ok((found, machine.input))
}

/// Returns the texts of a pickled list, and the bytes after the pickle.
pub(super) fn texts(pickle: &[u8]) -> Result<(Vec<String>, &[u8]), PickleError> {
    let mut machine = Machine { input: pickle, ..Machine::default() };
    let top = machine.run()?;
    let text = |id: &Id| match &machine.values[*id] {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    let texts = match &machine.values[top] {
        Value::List(items) => items.iter().map(text).collect::<Option<_>>(),
        _ => None,
    };
    Ok((texts.ok_or(PickleError::Damaged("a list of names is missing"))?, machine.input))
}

/// Returns true when a pickled dictionary has this flag, and the bytes after the pickle.
pub(super) fn flag<'a>(pickle: &'a [u8], name: &str) -> Result<(bool, &'a [u8]), PickleError> {
    let mut machine = Machine { input: pickle, ..Machine::default() };
    let top = machine.run()?;
    let Value::Dict(entries) = &machine.values[top] else {
        return Err(PickleError::Damaged("a dictionary is missing"));
    };
    let is_set = entries.iter().any(|(key, value)| {
        matches!(&machine.values[*key], Value::Text(key) if key == name)
            && matches!(machine.values[*value], Value::Integer(1))
    });
    Ok((is_set, machine.input))
}

#[derive(Default)]
struct Machine<'a> {
    input: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks that are open.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, PickleError> {
        for _ in 0..MAX_INSTRUCTIONS {
            if let Some(top) = self.step()? {
                return Ok(top);
            }
        }
        Err(PickleError::Refused(format!("more than {MAX_INSTRUCTIONS} instructions")))
    }

    /// Performs one instruction. Returns the result at the last one.
    fn step(&mut self) -> Result<Option<Id>, PickleError> {
        match self.byte()? {
            0x80 => {
                let protocol = self.byte()?;
                if protocol > MAX_PROTOCOL {
                    return Err(PickleError::Refused(format!("pickle protocol {protocol}")));
                }
            }
            // A frame only helps readers of streams.
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::Other),
            0x88 => self.push(Value::Integer(1)),
            0x89 => self.push(Value::Integer(0)),
            b'G' => {
                self.take(8)?;
                self.push(Value::Other);
            }
            b'K' => {
                let number = self.byte()?;
                self.push(Value::Integer(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Value::Integer(number.into()));
            }
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Value::Integer(number.into()));
            }
            0x8a => self.long()?,
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                self.text(length.into())?;
            }
            0x8c => {
                let length = self.byte()?;
                self.text(length.into())?;
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.text(length)?;
            }
            b')' => self.push(Value::Tuple(Vec::new())),
            count @ 0x85..=0x87 => self.tuple(usize::from(count - 0x84))?,
            b't' => {
                let count = self.above_mark()?;
                self.tuple(count)?;
            }
            b']' => self.push(Value::List(Vec::new())),
            b'a' => self.append(1)?,
            b'e' => {
                let count = self.above_mark()?;
                self.append(count)?;
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b's' => self.set_items(2)?,
            b'u' => {
                let count = self.above_mark()?;
                self.set_items(count)?;
            }
            b'q' => {
                let number = self.byte()?;
                self.put(number.into())?;
            }
            b'r' => {
                let number = u32::from_le_bytes(self.array()?);
                self.put(number)?;
            }
            0x94 => self.put(self.memo.len() as u32)?,
            b'h' => {
                let number = self.byte()?;
                self.get(number.into())?;
            }
            b'j' => {
                let number = u32::from_le_bytes(self.array()?);
                self.get(number)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(global(&module, &name)?));
            }
            0x93 => {
                let (name, module) = (self.popped_text()?, self.popped_text()?);
                self.push(Value::Global(global(&module, &name)?));
            }
            b'Q' => self.storage()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            other => return Err(PickleError::Refused(format!("the pickle instruction 0x{other:02x}"))),
        }
        Ok(None)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], PickleError> {
        let cut = PickleError::Damaged("it is cut short");
        let length = usize::try_from(length).map_err(|_| cut.clone())?;
        let (taken, rest) = self.input.split_at_checked(length).ok_or(cut)?;
        self.input = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64)?);
        Ok(bytes)
    }

    /// Reads a line of text without its end.
    fn line(&mut self) -> Result<String, PickleError> {
        let end = self.input.iter().position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or(PickleError::Damaged("it is cut short"))? as u64)?;
        let line = String::from_utf8_lossy(line).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn text(&mut self, length: u64) -> Result<(), PickleError> {
        let text = std::str::from_utf8(self.take(length)?).map(str::to_owned);
        self.push(Value::Text(text.map_err(|_| PickleError::Damaged("a text is not UTF-8"))?));
        Ok(())
    }

    /// Reads an integer of up to eight bytes.
    fn long(&mut self) -> Result<(), PickleError> {
        let length = self.byte()?;
        let bytes = self.take(length.into())?;
        let mut number = [if bytes.last().is_some_and(|last| last >> 7 == 1) { 0xff } else { 0 }; 8];
        let low = number.get_mut(..bytes.len());
        low.ok_or_else(|| PickleError::Refused("an integer of more than 64 bits".to_owned()))?
            .copy_from_slice(bytes);
        self.push(Value::Integer(i64::from_le_bytes(number)));
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        self.stack.pop().ok_or(PickleError::Damaged("it takes more values than it has"))
    }

    fn popped_text(&mut self) -> Result<String, PickleError> {
        let id = self.pop()?;
        match &self.values[id] {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(PickleError::Damaged("a name is not a text")),
        }
    }

    /// Closes the last mark and returns the number of values above it.
    fn above_mark(&mut self) -> Result<usize, PickleError> {
        let mark = self.marks.pop().ok_or(PickleError::Damaged("a mark is missing"))?;
        self.stack.len().checked_sub(mark).ok_or(PickleError::Damaged("a mark is missing"))
    }

    fn popped(&mut self, count: usize) -> Result<Vec<Id>, PickleError> {
        let start = self.stack.len().checked_sub(count);
        let start = start.ok_or(PickleError::Damaged("it takes more values than it has"))?;
        Ok(self.stack.split_off(start))
    }

    fn tuple(&mut self, count: usize) -> Result<(), PickleError> {
        let values = self.popped(count)?;
        self.push(Value::Tuple(values));
        Ok(())
    }

    fn append(&mut self, count: usize) -> Result<(), PickleError> {
        let mut added = self.popped(count)?;
        match self.stack.last().map(|list| &mut self.values[*list]) {
            Some(Value::List(items)) => {
                items.append(&mut added);
                Ok(())
            }
            _ => Err(PickleError::Damaged("it appends to something other than a list")),
        }
    }

    fn set_items(&mut self, count: usize) -> Result<(), PickleError> {
        let items = self.popped(count)?;
        let (pairs, rest) = items.as_chunks::<2>();
        match self.stack.last().map(|dict| &mut self.values[*dict]) {
            Some(Value::Dict(entries)) if rest.is_empty() => {
                entries.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => Err(PickleError::Damaged("it sets entries of something other than a dictionary")),
        }
    }

    fn put(&mut self, number: u32) -> Result<(), PickleError> {
        let top = *self.stack.last().ok_or(PickleError::Damaged("it stores a value that is missing"))?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn get(&mut self, number: u32) -> Result<(), PickleError> {
        let stored =
            self.memo.get(&number).ok_or(PickleError::Damaged("it uses a value before it stores it"))?;
        self.stack.push(*stored);
        Ok(())
    }

    /// Reads a persistent id: `("storage", type, key, device, number of elements)`.
    fn storage(&mut self) -> Result<(), PickleError> {
        let id = self.pop()?;
        let Value::Tuple(parts) = &self.values[id] else {
            return Err(PickleError::Damaged("a storage is not described by a tuple"));
        };
        let [word, kind, key, _device, length, view @ ..] = parts.as_slice() else {
            return Err(PickleError::Damaged("a storage is described by too few values"));
        };
        // Before PyTorch 1.6 a storage could be a part of another one.
        if view.iter().any(|view| !matches!(self.values[*view], Value::Other)) {
            return Err(PickleError::Refused("a storage that is a view of another one".to_owned()));
        }
        let described = match (&self.values[*word], &self.values[*kind], &self.values[*length]) {
            (Value::Text(word), Value::Global(Global::Storage(kind)), Value::Integer(length))
                if word == "storage" =>
            {
                u64::try_from(*length).ok().map(|length| Value::Storage { kind: *kind, key: *key, length })
            }
            _ => None,
        };
        self.push(described.ok_or(PickleError::Damaged("a storage is described by wrong values"))?);
        Ok(())
    }

    /// Performs the call of a known function.
    fn reduce(&mut self) -> Result<(), PickleError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let wrong = PickleError::Damaged("a function is called with wrong values");
        let (Value::Global(function), Value::Tuple(arguments)) =
            (&self.values[function], &self.values[arguments])
        else {
            return Err(wrong);
        };
        let made = match (function, arguments.as_slice()) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => {
                Value::Tensor(self.tensor(*storage, *offset, *shape, *strides)?)
            }
            (Global::RebuildParameter, [tensor, ..]) => match &self.values[*tensor] {
                Value::Tensor(tensor) => Value::Tensor(tensor.clone()),
                _ => return Err(wrong),
            },
            _ => return Err(wrong),
        };
        self.push(made);
        Ok(())
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Tensor, PickleError> {
        let wrong = PickleError::Damaged("a tensor is described by wrong values");
        let (Value::Storage { kind, key, length }, Value::Integer(offset)) =
            (&self.values[storage], &self.values[offset])
        else {
            return Err(wrong);
        };
        let Value::Text(key) = &self.values[*key] else { return Err(wrong) };
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err(wrong);
        }
        // Elements must lie in the order of their indices, as in every file of weights.
        let mut expected = 1usize;
        for (size, stride) in shape.iter().zip(&strides).rev() {
            if *size != 1 && *stride != expected && !shape.contains(&0) {
                return Err(PickleError::Refused("a tensor that is a transposed or sliced view".to_owned()));
            }
            expected = expected.checked_mul(*size).ok_or_else(|| wrong.clone())?;
        }
        Ok(Tensor {
            kind: *kind,
            storage: key.clone(),
            length: *length,
            offset: u64::try_from(*offset).map_err(|_| wrong)?,
            shape,
        })
    }

    /// Returns a tuple of sizes.
    fn sizes(&self, id: Id) -> Result<Vec<usize>, PickleError> {
        let wrong = PickleError::Damaged("a tensor's shape is described by wrong values");
        let Value::Tuple(sizes) = &self.values[id] else { return Err(wrong) };
        // More dimensions than in any array library.
        if sizes.len() > 64 {
            return Err(wrong);
        }
        let size = |id: &Id| match &self.values[*id] {
            Value::Integer(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        sizes.iter().map(size).collect::<Option<_>>().ok_or(wrong)
    }

    /// Skips the attributes of a dictionary, such as the version numbers of modules.
    fn build(&mut self) -> Result<(), PickleError> {
        self.pop()?;
        match self.stack.last().map(|object| &self.values[*object]) {
            Some(Value::Dict(_)) => Ok(()),
            _ => Err(PickleError::Refused("an object with attributes".to_owned())),
        }
    }
}

/// Returns the known thing of this name.
fn global(module: &str, name: &str) -> Result<Global, PickleError> {
    use safetensors::Dtype;
    let storage = |dtype| Ok(Global::Storage(StorageType(dtype)));
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Global::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Ok(Global::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Ok(Global::RebuildParameter),
        ("torch", "FloatStorage") => storage(Dtype::F32),
        ("torch", "DoubleStorage") => storage(Dtype::F64),
        ("torch", "HalfStorage") => storage(Dtype::F16),
        ("torch", "BFloat16Storage") => storage(Dtype::BF16),
        ("torch", "LongStorage") => storage(Dtype::I64),
        ("torch", "IntStorage") => storage(Dtype::I32),
        ("torch", "ShortStorage") => storage(Dtype::I16),
        ("torch", "CharStorage") => storage(Dtype::I8),
        ("torch", "ByteStorage") => storage(Dtype::U8),
        ("torch", "BoolStorage") => storage(Dtype::BOOL),
        _ => {
            let shown = |text: &str| text.chars().filter(char::is_ascii_graphic).take(60).collect::<String>();
            Err(PickleError::Refused(format!("the name {}.{}", shown(module), shown(name))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(pickle: &[u8]) -> String {
        match tensors(pickle) {
            Err(PickleError::Refused(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn code_is_refused_by_name() {
        assert_eq!(refused(b"cos\nsystem\n(X\x02\0\0\0lstR."), "the name os.system");
        assert_eq!(refused(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93."), "the name builtins.eval");
        assert_eq!(refused(b"ctorch\nload\n."), "the name torch.load");
        assert_eq!(refused(b"ccollections\nOrderedDict\n)\x81."), "the pickle instruction 0x81");
        assert_eq!(refused(b"\x80\x09."), "pickle protocol 9");
        assert_eq!(refused(b"}."), "no tensor at its top level");
        assert_eq!(refused(b"K\x01."), "something other than a dictionary of tensors");
    }

    #[test]
    fn deep_nesting_and_loops_are_harmless() {
        let mut deep = vec![b')'];
        deep.extend([0x85].repeat(1_000_000));
        deep.push(b'.');
        assert!(matches!(tensors(&deep), Err(PickleError::Refused(_))));
        // A dictionary that is its own entry.
        assert_eq!(refused(b"}q\0X\x01\0\0\0ah\0s."), "no tensor at its top level");
    }

    #[test]
    fn a_cut_pickle_is_damaged() {
        for pickle in
            [&b""[..], b"X\xff\xff\xff\xff", b"X\x05\0\0\0ab", b"c", b"s.", b"u.", b"R.", b"b.", b"h\x07."]
        {
            assert!(matches!(tensors(pickle), Err(PickleError::Damaged(_))), "{pickle:?}");
        }
    }

    fn instructions() -> impl Strategy<Value = Vec<u8>> {
        let one = prop_oneof![
            Just(b"(".to_vec()),
            Just(b")".to_vec()),
            Just(b"}".to_vec()),
            Just(b"t".to_vec()),
            Just(b"R".to_vec()),
            Just(b"Q".to_vec()),
            Just(b"s".to_vec()),
            Just(b"u".to_vec()),
            Just(b"b".to_vec()),
            Just(b"X\x07\0\0\0storage".to_vec()),
            Just(b"ctorch\nFloatStorage\n".to_vec()),
            Just(b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec()),
            Just(b"ccollections\nOrderedDict\n".to_vec()),
            any::<u8>().prop_map(|number| vec![b'K', number]),
            any::<u8>().prop_map(|number| vec![b'h', number % 4]),
            any::<u8>().prop_map(|number| vec![b'q', number % 4]),
            any::<u8>().prop_map(|byte| vec![byte]),
        ];
        prop::collection::vec(one, 0..60).prop_map(|all| [all.concat(), b".".to_vec()].concat())
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = tensors(&bytes);
        }

        #[test]
        fn no_instructions_make_reading_panic(pickle in instructions()) {
            let _ = tensors(&pickle);
        }
    }
}
