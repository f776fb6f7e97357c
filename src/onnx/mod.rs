//! ONNX graphs: builder, differentiation, encoder, loss. Knows no network.
