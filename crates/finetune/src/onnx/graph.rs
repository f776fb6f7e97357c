//! A graph under construction: values, nodes, constants, inputs and outputs.
//!
//! [`Value`]s are small handles. Their names are decided when the graph is encoded, so naming an
//! output needs no copying node. Equal constants are stored once. Nothing here knows about
//! training.

use std::collections::HashMap;

use prost::Message;

use super::form::GraphForm;
use super::fused;
use super::proto::{
    AttributeProto, DimensionProto, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    attribute_type, data_type,
};

/// Version of the ONNX operator set, the first with `Gelu`.
const OPSET: i64 = 20;
/// File format version that belongs to this operator set.
const IR_VERSION: i64 = 10;
/// Producer that every graph names. This isn't the package's name, because artifacts must not
/// change when code moves.
const PRODUCER: &str = "autovalidate-trainer";
const PRODUCER_VERSION: &str = "0.1.0";
/// Domain of ONNX Runtime's own operators, used where they save a node (`FusedMatMul`).
const CONTRIB: &str = "com.microsoft";

/// A tensor in the graph: input, constant or a node's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);

/// One dimension of an input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// Size known when the graph is built.
    Size(usize),
    /// Size known at run time. Equal symbols mean equal sizes.
    Symbol(&'static str),
}

impl From<usize> for Dimension {
    fn from(size: usize) -> Self {
        Self::Size(size)
    }
}

impl From<&'static str> for Dimension {
    fn from(symbol: &'static str) -> Self {
        Self::Symbol(symbol)
    }
}

/// Element type of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit float.
    Float,
    /// 64-bit signed integer.
    Int64,
}

/// A node attribute.
pub(super) enum Attribute {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
}

#[derive(PartialEq, Eq, Hash)]
struct Constant {
    data_type: i32,
    dims: Vec<i64>,
    bytes: Vec<u8>,
}

/// A graph under construction.
#[derive(Default)]
pub struct Graph {
    names: Vec<String>,
    nodes: Vec<NodeProto>,
    node_values: Vec<(Vec<Value>, Vec<Value>)>,
    constants: HashMap<Constant, Value>,
    initializers: Vec<(Value, TensorProto)>,
    inputs: Vec<(Value, ValueInfoProto)>,
    outputs: Vec<(Value, ValueInfoProto)>,
    scope: String,
    contrib: bool,
    pub(super) form: GraphForm,
    uses_fused: bool,
}

impl Graph {
    /// Creates an empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns true when layers are written as fused operators.
    pub(super) fn is_fused(&self) -> bool {
        matches!(self.form, GraphForm::Fused | GraphForm::Factored)
    }

    /// Sets the prefix of the names of all later nodes, such as `encoder.layer.0`, for readers of
    /// the graph.
    pub(super) fn enter(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    fn value(&mut self, name: String) -> Value {
        self.names.push(name);
        Value((self.names.len() - 1) as u32)
    }

    /// Declares an input that the caller feeds.
    pub fn input(&mut self, name: &str, element: Element, dims: &[Dimension]) -> Value {
        let value = self.value(name.to_owned());
        self.inputs.push((value, value_info(name, element, dims)));
        value
    }

    /// Declares `value` as an output called `name`.
    pub fn output(&mut self, value: Value, name: &str, element: Element, dims: &[Dimension]) {
        name.clone_into(&mut self.names[value.0 as usize]);
        self.outputs.push((value, value_info(name, element, dims)));
    }

    /// Adds a constant float scalar.
    pub(super) fn scalar(&mut self, number: f32) -> Value {
        self.constant(data_type::FLOAT, vec![], number.to_le_bytes().to_vec())
    }

    /// Adds a constant one-dimensional tensor of floats.
    pub(super) fn floats(&mut self, numbers: &[f32]) -> Value {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.constant(data_type::FLOAT, vec![numbers.len() as i64], bytes)
    }

    /// Adds a constant one-dimensional tensor of integers, such as a shape, axes or indices.
    pub(super) fn ints(&mut self, numbers: &[i64]) -> Value {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.constant(data_type::INT64, vec![numbers.len() as i64], bytes)
    }

    /// Adds a constant integer scalar, such as an index that removes its dimension.
    pub(super) fn int(&mut self, number: i64) -> Value {
        self.constant(data_type::INT64, vec![], number.to_le_bytes().to_vec())
    }

    fn constant(&mut self, data_type: i32, dims: Vec<i64>, bytes: Vec<u8>) -> Value {
        let constant = Constant { data_type, dims, bytes };
        if let Some(value) = self.constants.get(&constant) {
            return *value;
        }
        let value = self.value(format!("constant_{}", self.constants.len()));
        let tensor = TensorProto {
            dims: constant.dims.clone(),
            data_type,
            name: String::new(),
            raw_data: constant.bytes.clone(),
        };
        self.initializers.push((value, tensor));
        self.constants.insert(constant, value);
        value
    }

    /// Adds a named weight that is stored in the file. Only inference models store weights;
    /// training graphs take them as inputs.
    pub fn weight(&mut self, name: &str, dims: &[usize], data: &[f32]) -> Value {
        let value = self.value(name.to_owned());
        let tensor = TensorProto {
            dims: dims.iter().map(|size| *size as i64).collect(),
            data_type: data_type::FLOAT,
            name: name.to_owned(),
            raw_data: data.iter().flat_map(|number| number.to_le_bytes()).collect(),
        };
        self.initializers.push((value, tensor));
        value
    }

    /// Adds a node with several results.
    pub(super) fn node(
        &mut self,
        op: &str,
        inputs: &[Value],
        results: usize,
        attributes: &[(&str, Attribute)],
    ) -> Vec<Value> {
        let domain = match op {
            "FusedMatMul" => CONTRIB,
            op if fused::is_fused(op) => fused::DOMAIN,
            _ => "",
        };
        self.contrib |= domain == CONTRIB;
        self.uses_fused |= domain == fused::DOMAIN;
        let number = self.nodes.len();
        let name = if self.scope.is_empty() {
            format!("{op}_{number}")
        } else {
            format!("{}/{op}_{number}", self.scope)
        };
        let outputs: Vec<Value> = (0..results)
            .map(|index| self.value(if index == 0 { name.clone() } else { format!("{name}.{index}") }))
            .collect();
        self.nodes.push(NodeProto {
            input: vec![],
            output: vec![],
            name,
            op_type: op.to_owned(),
            attribute: attributes.iter().map(|(name, attribute)| attribute_proto(name, attribute)).collect(),
            domain: domain.to_owned(),
        });
        self.node_values.push((inputs.to_vec(), outputs.clone()));
        outputs
    }

    /// Adds a node with one result.
    pub(super) fn op(&mut self, op: &str, inputs: &[Value], attributes: &[(&str, Attribute)]) -> Value {
        self.node(op, inputs, 1, attributes)[0]
    }

    /// Encodes the graph as an ONNX file, with `metadata` as pairs of key and value.
    pub fn encode(self, name: &str, about: &str, metadata: &[(&str, String)]) -> Vec<u8> {
        let names = self.names;
        let text = |value: &Value| names[value.0 as usize].clone();
        let node = self
            .nodes
            .into_iter()
            .zip(&self.node_values)
            .map(|(node, (inputs, outputs))| NodeProto {
                input: inputs.iter().map(text).collect(),
                output: outputs.iter().map(text).collect(),
                ..node
            })
            .collect();
        // Moved, not copied, because these include an inference model's weights.
        let initializer = self
            .initializers
            .into_iter()
            .map(|(value, tensor)| TensorProto { name: text(&value), ..tensor })
            .collect();
        let mut opset_import = vec![OperatorSetIdProto { domain: String::new(), version: OPSET }];
        if self.contrib {
            opset_import.push(OperatorSetIdProto { domain: CONTRIB.to_owned(), version: 1 });
        }
        if self.uses_fused {
            opset_import.push(OperatorSetIdProto { domain: fused::DOMAIN.to_owned(), version: 1 });
        }
        let info = |(_, info): (Value, ValueInfoProto)| info;
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: PRODUCER.to_owned(),
            producer_version: PRODUCER_VERSION.to_owned(),
            doc_string: about.to_owned(),
            graph: Some(GraphProto {
                node,
                name: name.to_owned(),
                initializer,
                input: self.inputs.into_iter().map(info).collect(),
                output: self.outputs.into_iter().map(info).collect(),
            }),
            opset_import,
            metadata_props: metadata
                .iter()
                .map(|(key, value)| StringStringEntryProto { key: (*key).to_owned(), value: value.clone() })
                .collect(),
        }
        .encode_to_vec()
    }
}

fn attribute_proto(name: &str, attribute: &Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match attribute {
        Attribute::Int(number) => (proto.i, proto.r#type) = (*number, attribute_type::INT),
        Attribute::Float(number) => (proto.f, proto.r#type) = (*number, attribute_type::FLOAT),
        Attribute::Ints(numbers) => (proto.ints, proto.r#type) = (numbers.clone(), attribute_type::INTS),
    }
    proto
}

fn value_info(name: &str, element: Element, dims: &[Dimension]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|dimension| DimensionProto {
            value: Some(match dimension {
                Dimension::Size(size) => DimensionValue::Size(*size as i64),
                Dimension::Symbol(symbol) => DimensionValue::Symbol((*symbol).to_owned()),
            }),
        })
        .collect();
    let elem_type = match element {
        Element::Float => data_type::FLOAT,
        Element::Int64 => data_type::INT64,
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto { elem_type, shape: Some(TensorShapeProto { dim }) }),
        }),
    }
}
