//! The Hugging Face Hub, as this worker uses it.
