//! What libtorch says when something goes wrong, made readable.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};

/// Runs what can only panic when libtorch refuses, such as `ModuleT::forward_t`; libtorch's message as an error.
///
/// The process's panic hook still runs, so by default the message is on stderr too.
pub fn caught<T>(f: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| anyhow!(panic_message(&*payload)))
}

/// The message of a panic. tch's infallible calls panic with libtorch's inside what `unwrap` says.
pub fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    let message = without_backtrace(text);
    message.split_once("Torch(\"").map_or(message, |(_, of_libtorch)| of_libtorch).to_string()
}

/// The first line of a message. libtorch's go on with a C++ backtrace, whose line ends `unwrap` shows as `\n`.
pub fn without_backtrace(message: &str) -> &str {
    let first_line = message.lines().next().unwrap_or_default();
    first_line.split("\\n").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::{caught, panic_message, without_backtrace};

    #[test]
    fn no_backtrace_of_libtorch_reaches_the_user() {
        let error = "Internal torch error: sizes differ\nException raised from infer_size at ...\nframe #0: c10::Error";
        assert_eq!(without_backtrace(error), "Internal torch error: sizes differ");
        let unwrapped: &'static str =
            r#"called `Result::unwrap()` on an `Err` value: Torch("sizes differ\nframe #0: c10::Error")"#;
        assert_eq!(panic_message(&unwrapped), "sizes differ");
    }

    #[test]
    fn a_panic_of_tch_becomes_an_error_with_the_message_of_libtorch() {
        let (a, b) = (Tensor::from_slice(&[1f32, 2.0]), Tensor::from_slice(&[1f32, 2.0, 3.0]));
        let error = caught(|| a + b).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0"
        );
    }
}
