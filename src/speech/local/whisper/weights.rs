//! Reader of CTranslate2's `model.bin`, the file in which the weights come.
//!
//! ```text
//! u32 version, text spec, u32 revision,
//! u32 count, count × (text name, u8 rank, rank × u32 dimension, u8 element type, u32 bytes, the bytes),
//! u32 count, count × (text alias, text name)
//! ```
//!
//! Everything is little-endian; a text is a u16 length, the bytes and a zero that the length counts. Nothing in the
//! file is trusted: each read is checked against its end, and a wrong file is an error, never a panic.

use half::f16;
use std::collections::HashMap;

/// The oldest version of the format that is laid out as above.
const OLDEST_VERSION: u32 = 5;
/// What the file must be the weights of.
const SPEC: &str = "WhisperSpec";
/// No variable of any model has more dimensions than this.
const MAX_RANK: u8 = 8;

/// The variables of a model, by name; they borrow the bytes of the file.
#[derive(Debug)]
pub(crate) struct Weights<'a> {
    variables: HashMap<&'a str, Variable<'a>>,
}

/// One variable: `shape` elements of `kind`, in row-major order.
#[derive(Clone, Debug)]
struct Variable<'a> {
    shape: Vec<usize>,
    kind: ElementKind,
    bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElementKind {
    F32,
    I8,
    I16,
    I32,
    F16,
}

impl ElementKind {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::F32,
            1 => Self::I8,
            2 => Self::I16,
            3 => Self::I32,
            4 => Self::F16,
            _ => return None,
        })
    }

    const fn size(self) -> usize {
        match self {
            Self::I8 => 1,
            Self::I16 | Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
        }
    }
}

/// Why a file of weights cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// The file ends in the middle of something.
    #[error("the file ends at byte {offset} in the middle of {what}")]
    Truncated {
        /// Where the read began.
        offset: usize,
        /// What was to be read.
        what: &'static str,
    },
    /// The format is older than what can be read.
    #[error("format version {0} is older than {OLDEST_VERSION}")]
    Version(u32),
    /// The weights are of another kind of model.
    #[error("these are the weights of a {0:?}, not of a {SPEC}")]
    Spec(String),
    /// A name is not UTF-8.
    #[error("the name at byte {offset} is not text")]
    Name {
        /// Where it is.
        offset: usize,
    },
    /// A variable's elements are of a type that is not known.
    #[error("{name} has elements of unknown type {code}")]
    ElementType {
        /// The variable.
        name: String,
        /// The type's number.
        code: u8,
    },
    /// A variable's dimensions do not go with its length in bytes.
    #[error("{name} has the shape {shape:?} but {bytes} bytes")]
    Length {
        /// The variable.
        name: String,
        /// As it says.
        shape: Vec<usize>,
        /// As it is.
        bytes: usize,
    },
    /// A variable that the model needs is not there.
    #[error("there is no {0}")]
    Missing(String),
    /// A variable has other dimensions than the model needs.
    #[error("{name} has the shape {got:?} instead of {expected:?}")]
    Shape {
        /// The variable.
        name: String,
        /// As it must be.
        expected: Vec<usize>,
        /// As it is.
        got: Vec<usize>,
    },
    /// The heads of the attention do not divide its width.
    #[error("{heads} heads do not divide a width of {width}")]
    Heads {
        /// How many.
        heads: usize,
        /// Elements of a vector.
        width: usize,
    },
}

impl<'a> Weights<'a> {
    /// Reads the table of variables; their elements are converted when they are asked for.
    pub(crate) fn parse(file: &'a [u8]) -> Result<Self, WeightsError> {
        let mut reader = Reader { file, offset: 0 };
        let version = reader.u32("the version")?;
        if version < OLDEST_VERSION {
            return Err(WeightsError::Version(version));
        }
        let spec = reader.text("the name of the model")?;
        if spec != SPEC {
            return Err(WeightsError::Spec(spec.to_owned()));
        }
        reader.u32("the revision")?;
        let mut variables = HashMap::new();
        for _ in 0..reader.u32("the number of variables")? {
            let (name, variable) = reader.variable()?;
            variables.insert(name, variable);
        }
        for _ in 0..reader.u32("the number of aliases")? {
            let alias = reader.text("an alias")?;
            let name = reader.text("the target of an alias")?;
            if let Some(variable) = variables.get(name).cloned() {
                variables.insert(alias, variable);
            }
        }
        Ok(Self { variables })
    }

    /// Whether there is a variable of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// The dimensions of a variable.
    pub(crate) fn shape(&self, name: &str) -> Result<&[usize], WeightsError> {
        Ok(&self.variable(name)?.shape)
    }

    /// The elements of a variable that must have this shape.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let variable = self.variable(name)?;
        if variable.shape != shape {
            return Err(WeightsError::Shape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                got: variable.shape.clone(),
            });
        }
        Ok(variable.to_f32())
    }

    /// The dimensions of a matrix, neither of them 0.
    pub(crate) fn matrix_shape(&self, name: &str) -> Result<[usize; 2], WeightsError> {
        let shape = self.shape(name)?;
        match *shape {
            [rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
            _ => Err(WeightsError::Shape { name: name.to_owned(), expected: vec![1, 1], got: shape.to_vec() }),
        }
    }

    /// The one element of a variable without dimensions.
    pub(crate) fn scalar(&self, name: &str) -> Result<f32, WeightsError> {
        Ok(self.tensor(name, &[])?[0]) // a shape without dimensions has one element, which `variable` has checked
    }

    /// How many heads the attention of `side` has, which must divide `width`.
    pub(crate) fn heads(&self, side: &str, width: usize) -> Result<usize, WeightsError> {
        let heads = self.scalar(&format!("{side}/num_heads"))? as usize;
        if heads == 0 || !width.is_multiple_of(heads) { Err(WeightsError::Heads { heads, width }) } else { Ok(heads) }
    }

    fn variable(&self, name: &str) -> Result<&Variable<'a>, WeightsError> {
        self.variables.get(name).ok_or_else(|| WeightsError::Missing(name.to_owned()))
    }
}

impl Variable<'_> {
    fn to_f32(&self) -> Vec<f32> {
        let (pairs, _) = self.bytes.as_chunks::<2>();
        let (quads, _) = self.bytes.as_chunks::<4>();
        match self.kind {
            ElementKind::F32 => quads.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            ElementKind::I32 => quads.iter().map(|b| i32::from_le_bytes(*b) as f32).collect(),
            ElementKind::I16 => pairs.iter().map(|b| f32::from(i16::from_le_bytes(*b))).collect(),
            ElementKind::F16 => pairs.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            ElementKind::I8 => self.bytes.iter().map(|b| f32::from(b.cast_signed())).collect(),
        }
    }
}

/// The file and how far it has been read.
struct Reader<'a> {
    file: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], WeightsError> {
        let rest = &self.file[self.offset..]; // `offset` only grows by what was there
        let bytes = rest.get(..count).ok_or(WeightsError::Truncated { offset: self.offset, what })?;
        self.offset += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WeightsError> {
        let offset = self.offset;
        self.bytes(N, what)?.try_into().map_err(|_| WeightsError::Truncated { offset, what })
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, WeightsError> {
        self.array(what).map(u8::from_le_bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, WeightsError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, WeightsError> {
        let length = u16::from_le_bytes(self.array(what)?);
        let offset = self.offset;
        let bytes = self.bytes(usize::from(length), what)?;
        let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        std::str::from_utf8(text).map_err(|_| WeightsError::Name { offset })
    }

    fn variable(&mut self) -> Result<(&'a str, Variable<'a>), WeightsError> {
        let name = self.text("the name of a variable")?;
        let rank = self.u8("the rank of a variable")?;
        let mut shape = Vec::new();
        for _ in 0..rank {
            shape.push(self.u32("a dimension")? as usize);
        }
        let code = self.u8("an element type")?;
        let length = self.u32("the length of a variable")? as usize;
        let bytes = self.bytes(length, "the elements of a variable")?;
        let kind = ElementKind::from_code(code).ok_or(WeightsError::ElementType { name: name.to_owned(), code })?;
        let expected = shape.iter().try_fold(kind.size(), |product, dimension| product.checked_mul(*dimension));
        if expected != Some(length) || rank > MAX_RANK {
            return Err(WeightsError::Length { name: name.to_owned(), shape, bytes: length });
        }
        Ok((name, Variable { shape, kind, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend((text.len() as u16 + 1).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }

    fn variable(bytes: &mut Vec<u8>, name: &str, shape: &[u32], code: u8, elements: &[u8]) {
        text(bytes, name);
        bytes.push(shape.len() as u8);
        shape.iter().for_each(|dimension| bytes.extend(dimension.to_le_bytes()));
        bytes.push(code);
        bytes.extend((elements.len() as u32).to_le_bytes());
        bytes.extend(elements);
    }

    fn header(count: u32) -> Vec<u8> {
        let mut bytes = 6u32.to_le_bytes().to_vec();
        text(&mut bytes, SPEC);
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes
    }

    /// A file with one variable of each type and an alias.
    fn tiny_file() -> Vec<u8> {
        let mut bytes = header(5);
        variable(&mut bytes, "single", &[2], 0, &[1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat());
        variable(&mut bytes, "byte", &[1, 3], 1, &[1, 0xff, 0x80]);
        variable(&mut bytes, "heads", &[], 2, &6i16.to_le_bytes());
        variable(&mut bytes, "count", &[], 3, &70_000i32.to_le_bytes());
        variable(&mut bytes, "half", &[2, 1], 4, &[0x00, 0x3c, 0x00, 0xc0]);
        bytes.extend(1u32.to_le_bytes());
        text(&mut bytes, "other name");
        text(&mut bytes, "half");
        bytes
    }

    #[test]
    fn variables_of_every_type_are_read() {
        let file = tiny_file();
        let weights = Weights::parse(&file).unwrap();
        assert_eq!(weights.tensor("single", &[2]).unwrap(), [1.5, -2.0]);
        assert_eq!(weights.tensor("byte", &[1, 3]).unwrap(), [1.0, -1.0, -128.0]);
        assert_eq!(weights.scalar("heads").unwrap(), 6.0);
        assert_eq!(weights.scalar("count").unwrap(), 70_000.0);
        assert_eq!(weights.tensor("other name", &[2, 1]).unwrap(), [1.0, -2.0]);
        assert_eq!(weights.shape("half").unwrap(), [2, 1]);
    }

    #[test]
    fn what_the_model_needs_and_the_file_lacks_is_named() {
        let file = tiny_file();
        let weights = Weights::parse(&file).unwrap();
        assert_eq!(weights.tensor("absent", &[1]), Err(WeightsError::Missing("absent".into())));
        let error = weights.tensor("single", &[3]).unwrap_err();
        assert_eq!(error, WeightsError::Shape { name: "single".into(), expected: vec![3], got: vec![2] });
    }

    #[test]
    fn sizes_that_would_make_the_model_divide_by_zero_are_refused() {
        let mut file = header(3);
        variable(&mut file, "empty", &[0, 4], 1, &[]);
        variable(&mut file, "a/num_heads", &[], 2, &0i16.to_le_bytes());
        variable(&mut file, "b/num_heads", &[], 2, &5i16.to_le_bytes());
        file.extend(0u32.to_le_bytes());
        let weights = Weights::parse(&file).unwrap();
        assert!(matches!(weights.matrix_shape("empty"), Err(WeightsError::Shape { .. })));
        assert_eq!(weights.heads("a", 384), Err(WeightsError::Heads { heads: 0, width: 384 }));
        assert_eq!(weights.heads("b", 384), Err(WeightsError::Heads { heads: 5, width: 384 }));
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let file = tiny_file();
        for length in 0..file.len() {
            let error = Weights::parse(&file[..length]).unwrap_err();
            assert!(matches!(error, WeightsError::Truncated { .. }), "cut at {length}: {error}");
        }
    }

    #[test]
    fn other_files_are_refused_by_what_is_wrong() {
        assert_eq!(Weights::parse(&3u32.to_le_bytes()).unwrap_err(), WeightsError::Version(3));
        let mut other = 6u32.to_le_bytes().to_vec();
        text(&mut other, "TransformerSpec");
        assert_eq!(Weights::parse(&other).unwrap_err(), WeightsError::Spec("TransformerSpec".into()));
        let mut unknown_type = header(1);
        variable(&mut unknown_type, "x", &[1], 9, &[0]);
        assert_eq!(Weights::parse(&unknown_type).unwrap_err(), WeightsError::ElementType { name: "x".into(), code: 9 });
        let mut wrong_length = header(1);
        variable(&mut wrong_length, "x", &[u32::MAX, u32::MAX, u32::MAX], 0, &[0; 4]);
        assert!(matches!(Weights::parse(&wrong_length).unwrap_err(), WeightsError::Length { bytes: 4, .. }));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Weights::parse(&garbage);
        }

        #[test]
        fn a_damaged_file_never_panics(position in 0usize..200, value in any::<u8>()) {
            let mut file = tiny_file();
            let position = position % file.len();
            file[position] = value;
            if let Ok(weights) = Weights::parse(&file) {
                let _ = weights.tensor("single", &[2]);
                let _ = weights.scalar("heads");
            }
        }
    }
}
