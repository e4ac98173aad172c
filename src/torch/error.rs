//! Errors: libtorch's own, made readable, and those of the layers, loaders and generators built on it. Turns panics into
//! errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Kind, TchError};

/// An error of libtorch, whose message is kept without the C++ backtrace, or an invalid argument of a layer, loader or
/// generator.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe them
pub enum Error {
    #[error("{0}")]
    Libtorch(String),
    #[error("{0}")]
    OutOfMemory(String),
    #[error("{layer} takes {takes}, not {size:?}")]
    Shape { layer: &'static str, takes: String, size: Vec<i64> },
    #[error("an input of shape {0:?} has no batch or is larger than any memory")]
    InputSize(Vec<i64>),
    #[error("a linear layer of {in_features} to {out_features} features: both must be at least 1")]
    Features { in_features: i64, out_features: i64 },
    #[error("dropout probability has to be between 0 and 1, but got {0}")]
    Probability(f64),
    #[error("images of shape {images:?} with labels of shape {labels:?}: [N, ...] and [N] are needed")]
    Unpaired { images: Vec<i64>, labels: Vec<i64> },
    #[error("labels of kind {0:?}: Int64 is needed")]
    LabelKind(Kind),
    #[error("image index {index} is out of range for {count} images")]
    Index { index: i64, count: i64 },
    #[error("lengths {lengths:?} do not add up to {count} images")]
    Lengths { lengths: [usize; 2], count: usize },
    #[error("the parameter {0} is frozen or does not affect the loss")]
    NoGradient(String),
    #[error("the gradients have shapes {given:?}, but the parameters {expected:?}")]
    Gradients { given: Vec<Vec<i64>>, expected: Vec<Vec<i64>> },
    #[error("Nesterov's momentum needs a momentum and no dampening")]
    Nesterov,
    #[error("RMSprop on CUDA takes no other options than lr, alpha and eps")]
    RmsPropOnCuda,
    #[error("not the state of a torch.Generator: {0}")]
    GeneratorState(String),
    #[error(
        "dropout of {0} values from CUDA's generator: without a GPU their number must be a multiple of 4 up to 65536"
    )]
    CudaMask(usize),
    #[error("dropout on this GPU draws other numbers than PyTorch's sources define")]
    CudaDraws,
    #[error("CUDA's generator is at offset {0}; it would take hours to draw that far")]
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
        // Only the message distinguishes this error from others.
        if said.contains("can't allocate memory") { Self::OutOfMemory(said) } else { Self::Libtorch(said) }
    }
}

/// Runs `f`, in which libtorch or a layer can report an error only by a panic, as in `ModuleT::forward_t`, and returns that
/// panic as an error. Layers pass an [`Error`] to `panic_any`.
///
/// The process's panic hook still runs, so by default libtorch's message is printed to stderr too.
///
/// # Errors
/// Fails if `f` panics; the error has the panic's message.
pub fn caught<T>(f: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let payload = match payload.downcast::<Error>() {
            Ok(error) => return *error,
            Err(payload) => payload,
        };
        let message = panic_message(&*payload);
        match message.strip_prefix("called `Result::unwrap()` on an `Err` value: Torch(\"") {
            // `unwrap` prints the message with Debug.
            Some(said) => Error::from_libtorch(
                &said.trim_end_matches("\")").replace("\\n", "\n").replace("\\\"", "\"").replace("\\'", "'"),
            ),
            None => Error::Libtorch(message.to_string()),
        }
    })
}

/// A panic's message.
pub fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// Locks the state that generators share, even after a panic: it is valid after every single draw.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tch::{TchError, Tensor};

    use super::{Error, caught};

    #[test]
    fn only_the_backtrace_is_cut_from_libtorchs_message() {
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
