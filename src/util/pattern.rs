//! Names in which a `*` stands for any text.

use std::str::FromStr;

/// A name, in which one `*` may stand for any text.
///
/// ```
/// use islp_mnist::trace::Pattern;
///
/// let pattern: Pattern = "forward.*".parse()?;
/// assert!(pattern.matches("forward.layer1.1") && !pattern.matches("loss"));
/// assert!("*.layer1.*".parse::<Pattern>().is_err());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pattern {
    before: String,
    /// What follows the `*`, if there is one.
    after: Option<String>,
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (before, after) =
            text.split_once('*').map_or((text, None), |(before, after)| (before, Some(after)));
        if text.is_empty() || after.is_some_and(|after| after.contains('*')) {
            return Err("must be a name, with one * at most");
        }
        Ok(Self { before: before.into(), after: after.map(Into::into) })
    }
}

impl Pattern {
    /// True if the name is this one, or has the text around the `*`.
    pub fn matches(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// What the `*` stands for in this name; empty if there is no `*`. None if the pattern does not match.
    pub(crate) fn text<'a>(&self, name: &'a str) -> Option<&'a str> {
        let text = name.strip_prefix(&self.before)?;
        match &self.after {
            Some(after) => text.strip_suffix(after.as_str()),
            None => text.is_empty().then_some(text),
        }
    }

    /// The name with this text for the `*`.
    pub(crate) fn with(&self, text: &str) -> String {
        self.after
            .as_ref()
            .map_or_else(|| self.before.clone(), |after| format!("{}{text}{after}", self.before))
    }

    pub(crate) fn has_star(&self) -> bool {
        self.after.is_some()
    }
}
