//! What the legend calls the runs.

use std::path::PathBuf;

use super::Error;
use super::page::{FINE, text_width, unset};
use crate::util::text::shown as printable;

/// The most units that a run's name takes, a good third of the axes' width.
pub const ROOM: i32 = 170 * FINE;

/// What the legend calls a run. A name that is long it cuts.
///
/// ```
/// use islp_mnist::chart::{Figure, Metric, Name, Source};
///
/// let name = Name::Given("the first of many runs, with RMSprop".into());
/// let source = Source { name, metrics_csv: "output/MNIST/version_0/metrics.csv".into() };
/// let svg = Figure::new(Metric::Loss, &[source])?.to_svg()?;
/// assert!(svg.contains("the first of many runs… Training"));
/// # Ok::<(), islp_mnist::chart::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Name {
    /// Of a name that a person gave the beginning says most: "long na…". May be empty.
    Given(String),
    /// Of a path the end: "…/version_0".
    Path(String),
}

/// A run to be drawn; [`Figure`](super::Figure) and [`Name`] have examples.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the legend calls it.
    pub name: Name,
    /// As Lightning's `CSVLogger` writes it, at most 16 MiB.
    pub metrics_csv: PathBuf,
}

/// What the legend shows of the runs' names.
pub fn names(sources: &[Source]) -> Result<Vec<String>, Error> {
    for source in sources {
        let (Name::Given(label) | Name::Path(label)) = &source.name;
        can_show(label)?;
    }
    let shown: Vec<String> = sources.iter().map(|source| shortened(&source.name, ROOM)).collect();
    for (i, name) in shown.iter().enumerate() {
        if let Some(other) = shown[..i].iter().position(|other| other == name) {
            let names = [other, i].map(|i| match &sources[i].name {
                Name::Given(name) | Name::Path(name) => printable(name),
            });
            return Err(Error::SameName { names, shown: name.clone() });
        }
    }
    Ok(shown)
}

/// Refuses a name that the figure's font can't show; control characters are not shown in any case.
pub fn can_show(name: &str) -> Result<(), Error> {
    let label: String = name.chars().filter(|c| !c.is_control()).collect();
    match unset(&label) {
        Some(character) => Err(Error::Glyph { label, character }),
        None => Ok(()),
    }
}

/// Of a long name as much as there is room for.
pub fn shortened(name: &Name, room: i32) -> String {
    let fits = |text: &String| text_width(text).is_ok_and(|width| width <= room);
    let (Name::Given(text) | Name::Path(text)) = name;
    let text = text.replace(char::is_control, "\u{fffd}");
    if fits(&text) {
        return text;
    }
    let places = text.char_indices().map(|(place, _)| place);
    let longest = match name {
        Name::Given(_) => places.map(|end| format!("{}…", text[..end].trim_end())).take_while(fits).last(),
        Name::Path(_) => places.rev().map(|start| format!("…{}", &text[start..])).take_while(fits).last(),
    };
    longest.unwrap_or_default()
}
