//! What goes wrong below: libtorch's own errors made readable, and those of what stands on it here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::{Kind, TchError};

/// An error of libtorch, which is what it said without the C++ backtrace behind it, or of what is handed to the layers and
/// loaders here.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what they are
pub enum Error {
    #[error("{0}")]
    Libtorch(String),
    #[error("{0}")]
    OutOfMemory(String),
    #[error("{layer} takes {takes}, not {size:?}")]
    Shape { layer: &'static str, takes: String, size: Vec<i64> },
    #[error("an input of shape {0:?}: it has no batch, or is larger than any memory")]
    InputSize(Vec<i64>),
    #[error("a linear layer of {in_features} to {out_features} features: it has 1 or more of each")]
    Features { in_features: i64, out_features: i64 },
    #[error("dropout probability has to be between 0 and 1, but got {0}")]
    Probability(f64),
    #[error("images of shape {images:?} with labels of shape {labels:?}: [N, ...] and [N] are needed")]
    Unpaired { images: Vec<i64>, labels: Vec<i64> },
    #[error("labels of kind {0:?}: Int64 is needed")]
    LabelKind(Kind),
    #[error("the index {index} of an image, where there are {count}")]
    Index { index: i64, count: i64 },
    #[error("parts of {lengths:?} images, where there are {count}")]
    Lengths { lengths: [usize; 2], count: usize },
    #[error("the parameter {0} is frozen, or has no part in the loss")]
    NoGradient(String),
    #[error("no state of a torch.Generator: {0}")]
    GeneratorState(String),
    #[error(
        "dropout of {0} values from CUDA's generator: without a GPU it is known of up to 65536 at a time, a multiple of 4"
    )]
    CudaMask(usize),
    #[error("dropout on this GPU does not draw as PyTorch's sources say")]
    CudaDraws,
    #[error("CUDA's generator at offset {0}, to which it would take hours to draw")]
    CudaOffset(u64),
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        match error {
            TchError::Torch(message) => Self::from_libtorch(&message),
            other => Self::Libtorch(other.to_string()),
        }
    }
}

impl Error {
    fn from_libtorch(message: &str) -> Self {
        let end = message.find("\nException raised from ").or_else(|| message.find("\nframe #"));
        let said = &message[..end.unwrap_or(message.len())];
        let said = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        // libtorch has no other way to tell this error from others.
        if said.contains("can't allocate memory") { Self::OutOfMemory(said) } else { Self::Libtorch(said) }
    }
}

/// Runs what can only panic when libtorch or a layer refuses, such as `ModuleT::forward_t`, and makes an error of the
/// panic. A layer's is an [`Error`] by `panic_any`.
///
/// The process's panic hook still runs, so by default what libtorch said is on stderr too.
///
/// # Errors
/// What the panic said.
pub fn caught<T>(f: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let payload = match payload.downcast::<Error>() {
            Ok(error) => return *error,
            Err(payload) => payload,
        };
        let message = panic_message(&*payload);
        match message.strip_prefix("called `Result::unwrap()` on an `Err` value: Torch(\"") {
            // As `unwrap` shows it.
            Some(said) => Error::from_libtorch(
                &said.trim_end_matches("\")").replace("\\n", "\n").replace("\\\"", "\"").replace("\\'", "'"),
            ),
            None => Error::Libtorch(message.to_string()),
        }
    })
}

/// What a panic said.
pub fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("it did not say why")
}

#[cfg(test)]
mod tests {
    use tch::{TchError, Tensor};

    use super::{Error, caught};

    #[test]
    fn of_what_libtorch_says_the_backtrace_goes_and_nothing_else() {
        let error = |message: &str| Error::from(TchError::Torch(message.into())).to_string();
        assert_eq!(
            error("sizes differ\nException raised from infer_size at ...\nframe #0: c10::Error"),
            "sizes differ"
        );
        assert_eq!(error("cannot open C:\\new\\nothing"), "cannot open C:\\new\\nothing");
        assert_eq!(error("two lines:\n  the second"), "two lines: the second");
        let file = TchError::FileFormat("C:\\new\nsecond".into()).to_string();
        assert_eq!(Error::from(TchError::FileFormat("C:\\new\nsecond".into())).to_string(), file);
    }

    #[test]
    fn a_panic_of_tch_becomes_an_error_with_the_message_of_libtorch() {
        let (a, b) = (Tensor::from_slice(&[1f32, 2.0]), Tensor::from_slice(&[1f32, 2.0, 3.0]));
        assert_eq!(
            caught(|| a + b).unwrap_err().to_string(),
            "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0"
        );
        assert_eq!(caught(|| panic!("a \\new one")).unwrap_err().to_string(), "a \\new one");
    }
}
