//! One function body, compiled for every vector width.
//!
//! The bodies are plain safe Rust, loops over fixed-size chunks that the compiler vectorizes. They
//! take a constant `FUSED`, which is true when the processor multiplies and adds with a single
//! rounding. On other processors a fused multiply-add would be a function call per element.

/// Defines a function that selects, at run time, the compilation of `$body::<FUSED>` for this
/// processor.
macro_rules! for_every_width {
    ($(#[$about:meta])* $seen:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? = $body:ident) => {
        $(#[$about])*
        #[allow(clippy::too_many_arguments, reason = "slices of one loop")]
        $seen fn $name($($argument: $kind),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                #[allow(clippy::too_many_arguments, reason = "as above")]
                fn wide_512($($argument: $kind),*) $(-> $result)? {
                    $body::<true>($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments, reason = "as above")]
                fn wide_256($($argument: $kind),*) $(-> $result)? {
                    $body::<true>($($argument),*)
                }
                if $crate::width::has_512() {
                    // SAFETY: the function's only requirement is these instructions, which were
                    // just detected.
                    return unsafe { wide_512($($argument),*) };
                }
                if $crate::width::has_256() {
                    // SAFETY: the function's only requirement is AVX2 and FMA, which were just
                    // detected.
                    return unsafe { wide_256($($argument),*) };
                }
            }
            $body::<{ cfg!(target_arch = "aarch64") }>($($argument),*)
        }
    };
}
pub(crate) use for_every_width;

/// Returns true when the processor has the AVX-512 instructions that [`for_every_width`] compiles
/// for.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn has_512() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && has_256()
}

/// Returns true when the processor has AVX2 and fused multiply-add.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn has_256() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

/// Proof that this processor has AVX2 and fused multiply-add.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// Returns the proof, or `None` on a processor without these instructions.
    #[inline]
    pub(crate) fn here() -> Option<Self> {
        has_256().then_some(Self(()))
    }
}
