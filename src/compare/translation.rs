//! The candidate's names and layouts of tensors, translated into the reference's.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::numbers::Element;
use super::verdict::Error;
use crate::trace::{self, Quantity};
use crate::util::pattern::Pattern;
use crate::util::text::shown;

/// How the candidate names and lays out its tensors, if not as the reference does.
///
/// ```
/// use islp_mnist::compare::{Options, Translation};
///
/// // A dense layer of Flax, with its weights as [in, out], against a linear layer of PyTorch.
/// let renames = vec!["params.dense.kernel=layer.weight".parse()?, "params.dense.bias=layer.bias".parse()?];
/// let translation = Translation { renames, transposed: vec!["layer.weight".into()] };
/// let options = Options { translation, ..Options::default() };
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Translation {
    /// The first one that applies to a name replaces it.
    pub renames: Vec<Rename>,
    /// The reference's names of matrices whose rows are the candidate's columns; of parameters, also in the names of gradients
    /// and of an optimizer's states.
    pub transposed: Vec<String>,
}

/// Another name of one or more of the candidate's tensors: `OLD=NEW`. One `*` in both stands for any text.
///
/// It applies to whole names, and to parameters' names in those of gradients and of an optimizer's states.
///
/// ```
/// use islp_mnist::compare::Rename;
///
/// assert!("params.*.kernel=*.weight".parse::<Rename>().is_ok());
/// assert!("kernel".parse::<Rename>().is_err() && "*=*.*".parse::<Rename>().is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Rename {
    from: Pattern,
    to: Pattern,
}

impl FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let patterns = text.split_once('=').and_then(|(from, to)| from.parse().ok().zip(to.parse().ok()));
        let renames = patterns.map(|(from, to)| Self { from, to });
        renames
            .filter(|Self { from, to }| from.has_star() == to.has_star())
            .ok_or_else(|| "must be OLD=NEW, with one * in both or in neither".into())
    }
}

impl Rename {
    fn apply(&self, name: &str) -> Option<String> {
        self.from.text(name).map(|text| self.to.with(text))
    }
}

impl Translation {
    /// Replaces names by the reference's.
    ///
    /// # Errors
    /// Fails if two names become one.
    pub fn rename<'a>(&self, names: impl IntoIterator<Item = &'a mut String>) -> Result<(), Error> {
        // Every step of a trace comes here.
        if self.renames.is_empty() {
            return Ok(());
        }
        let first = |name: &str| self.renames.iter().find_map(|rename| rename.apply(name));
        let mut written: BTreeMap<String, String> = BTreeMap::new();
        for name in names {
            let (kind, parameter) = name.split_at(trace::parameter(name));
            let new = first(name)
                .or_else(|| Some(format!("{kind}{}", first(parameter)?)))
                .unwrap_or_else(|| name.clone());
            let other = written.entry(new.clone()).or_insert_with(|| name.clone());
            if other != name {
                let [left, right, new] = [other, &*name, &new].map(|name| shown(name));
                return Err(Error::OneName { left, right, new });
            }
            *name = new;
        }
        Ok(())
    }

    /// The number of rows and of columns of a tensor that is to be transposed; none for other tensors.
    ///
    /// # Errors
    /// Fails if it is to be transposed and is not a matrix.
    pub fn transposes(&self, name: &str, shape: &[usize]) -> Result<Option<[usize; 2]>, Error> {
        let parameter = &name[trace::parameter(name)..];
        if !self.transposed.iter().any(|transposed| [name, parameter].contains(&transposed.as_str())) {
            return Ok(None);
        }
        match *shape {
            [rows, columns] => Ok(Some([rows, columns])),
            _ => Err(Error::NotAMatrix { name: shown(name), shape: shape.to_vec() }),
        }
    }

    /// Transposes a quantity of the candidate, if it is to be. Without its tensor it loses its hash and its sketch.
    ///
    /// # Errors
    /// Fails if it is not a matrix.
    pub fn transpose(&self, quantity: &mut Quantity) -> Result<(), Error> {
        let Some(size) = self.transposes(&quantity.name, &quantity.shape)? else { return Ok(()) };
        let element = Element::of_torch(&quantity.kind);
        let bytes = element.and_then(|element| Some((element, quantity.bytes(element.size())?)));
        quantity.shape.reverse();
        match bytes {
            Some((element, bytes)) => {
                let bytes = transposed(&bytes, size, element.size());
                let values = bytes.chunks_exact(element.size()).map(|bytes| element.value(bytes).as_f64());
                quantity.replace(&bytes, values.collect());
            }
            None => quantity.forget(),
        }
        Ok(())
    }
}

/// The columns of a matrix, whose elements have `size` bytes, as rows.
pub fn transposed(bytes: &[u8], [rows, columns]: [usize; 2], size: usize) -> Vec<u8> {
    let places = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
    places.flat_map(|place| &bytes[size * place..size * (place + 1)]).copied().collect()
}
