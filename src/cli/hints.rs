//! Hints: the only place that knows which flag, script or file resolves an error.

use std::fmt::{self, Display, Formatter};

use islp_mnist::chart::{self, CsvError};
use islp_mnist::compare::{self, Report};
use islp_mnist::digit::{self, PictureError};
use islp_mnist::lightning::{self, CheckpointError};
use islp_mnist::notebook::weights::{self, ContentError};
use islp_mnist::run::{self, NoDevice};
use islp_mnist::torch::{self, cuda::NoCuda, libtorch, state_dict};
use islp_mnist::util::file;
use islp_mnist::{islp, notebook, report, study, torchvision, trace};

/// An error in the command line, with exit code 2 instead of 1.
#[derive(Debug)]
pub struct UsageError(pub String);

impl Display for UsageError {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Formats an error with its hint, in one line.
pub fn explain(error: &anyhow::Error) -> String {
    match hint(error) {
        Some(hint) => format!("{error:#}; {hint}"),
        None => format!("{error:#}"),
    }
}

/// The exit code of a command that ended with this error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let is_usage = |error: &islp::Error| {
        matches!(error, islp::Error::NoValidation { .. } | islp::Error::NoTraining { .. })
    };
    let islp = match error.downcast_ref() {
        Some(notebook::Error::Lightning(lightning::Error::Islp(error))) => Some(error),
        _ => error.downcast_ref(),
    };
    let is_usage_of_run = matches!(error.downcast_ref(), Some(run::Error::BatchWithoutGpu { .. }));
    if error.is::<UsageError>() || is_usage_of_run || islp.is_some_and(is_usage) {
        2
    } else if is_divergence(error) {
        3
    } else {
        1
    }
}

/// True if the training diverged.
pub fn is_divergence(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(lightning::Error::Divergence(_)))
}

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    None.or_else(|| notebook(error.downcast_ref()?))
        .or_else(|| lightning(error.downcast_ref()?))
        .or_else(|| islp(error.downcast_ref()?))
        .or_else(|| torch(error.downcast_ref()?))
        .or_else(|| data(error.downcast_ref()?))
        .or_else(|| weights(error.downcast_ref()?))
        .or_else(|| comparison(error.downcast_ref()?))
        .or_else(|| page(error.downcast_ref()?))
        .or_else(|| study(error.downcast_ref()?))
        .or_else(|| picture(error.downcast_ref()?))
        .or_else(|| figure(error.downcast_ref()?))
        .or_else(|| run(error.downcast_ref()?))
        .or_else(|| device(error.downcast_ref()?))
        .or_else(|| cuda(error.downcast_ref()?))
        .or_else(|| error.downcast_ref::<libtorch::Error>().map(|_| REFETCH_LIBTORCH))
}

pub(super) const REFETCH_LIBTORCH: &str =
    "scripts/reproduce.sh fetches libtorch, unless LIBTORCH or LIBTORCH_USE_PYTORCH is set";

fn torch(error: &torch::Error) -> Option<&'static str> {
    match error {
        torch::Error::OutOfMemory(_) => Some("use a smaller --batch-size"),
        torch::Error::CudaMask(_) => Some("use --device cuda or --generator cpu"),
        torch::Error::CudaDraws => Some("please report it; --generator cpu works around it"),
        torch::Error::CudaOffset(_) => Some("use an earlier checkpoint"),
        _ => None,
    }
}

fn notebook(error: &notebook::Error) -> Option<&'static str> {
    match error {
        notebook::Error::Lightning(error) => lightning(error),
        _ => None,
    }
}

fn islp(error: &islp::Error) -> Option<&'static str> {
    match error {
        islp::Error::NoValidation { .. } => Some("use a larger --validation"),
        islp::Error::NoTraining { .. } => Some("use a smaller --validation"),
        islp::Error::Torch(error) => torch(error),
        _ => None,
    }
}

fn lightning(error: &lightning::Error) -> Option<&'static str> {
    match error {
        lightning::Error::OutputFolder { .. } => Some("choose another with --output-dir"),
        lightning::Error::NotMetrics { .. } | lightning::Error::MetricsChanged { .. } => {
            Some("put the file back, or start a new run")
        }
        lightning::Error::Checkpoint { reason: CheckpointError::Version(_), .. } => {
            Some("resume with that version, or start a new run with --from and its run.json")
        }
        lightning::Error::Checkpoint { .. } => Some("start a new run with --from and its run.json"),
        lightning::Error::Divergence(_) => Some("use a smaller --lr"),
        lightning::Error::Islp(error) => islp(error),
        lightning::Error::Trace(trace::Error::Exists(_)) => Some("choose another with --trace"),
        _ => None,
    }
}

fn data(error: &torchvision::Error) -> Option<&'static str> {
    match error {
        torchvision::Error::Missing { .. } => Some(
            "scripts/reproduce.sh fetches MNIST; choose another folder with --data-dir or ISLP_MNIST_DATA_DIR",
        ),
        torchvision::Error::Invalid { .. } | torchvision::Error::File(file::Error::NotRegular { .. }) => {
            Some(
                "move it elsewhere and run scripts/reproduce.sh without --data-dir to fetch MNIST into data/, or name \
                 another folder with --data-dir",
            )
        }
        torchvision::Error::Torch(error) => torch(error),
        torchvision::Error::File(_) => None,
    }
}

fn weights(error: &weights::Error) -> Option<&'static str> {
    match error {
        weights::Error::Nothing(_) => Some("name the folder of a run, or a file"),
        weights::Error::File(file::Error::NotRegular { .. }) => {
            Some("name a .safetensors file or the folder of a run")
        }
        weights::Error::Content { reason: ContentError::Tensors(state_dict::Error::Pickle), .. } => {
            Some("scripts/parity_checkpoint.py converts one that you trust to safetensors")
        }
        _ => None,
    }
}

fn comparison(error: &compare::Error) -> Option<&'static str> {
    match error {
        compare::Error::TwoKinds(..) => Some("name two folders, or two files of the same type"),
        compare::Error::NoFiles(..) => Some("name two folders that `reproduce` or `train` wrote to"),
        compare::Error::TooDeep(_) => Some("name the output folder itself"),
        _ => None,
    }
}

fn page(error: &report::Error) -> Option<&'static str> {
    match error {
        report::Error::NoRun(_) => Some("name the version folder of a run, or a folder that contains some"),
        report::Error::ManyRuns { .. } => Some("name one of them"),
        report::Error::Run(run::Error::NotRunJson { .. }) => {
            Some("put the file back as it was, or move it elsewhere")
        }
        report::Error::Outputs(_) => Some("use a run that did not diverge"),
        report::Error::Weights(error) => weights(error),
        report::Error::Data(error) => data(error),
        report::Error::Compare(error) => comparison(error),
        report::Error::Study(error) => study(error),
        report::Error::Islp(error) => islp(error),
        _ => None,
    }
}

fn study(error: &study::Error) -> Option<&'static str> {
    matches!(error, study::Error::Csv { .. } | study::Error::Columns { .. })
        .then_some("move it elsewhere; study --collect then writes a new one from the runs")
}

/// Hints on what to do after a comparison.
pub fn on_comparison(report: &Report) -> Vec<String> {
    let mut hints = vec![];
    if let Some(parameter) = report.transposed() {
        hints.push(format!(
            "note: --transpose {parameter} compares the candidate's columns with the reference's rows"
        ));
    }
    if let Some((from, to)) = report.steps_to_keep() {
        hints.push(format!(
            "note: record both traces with --trace-steps {from}..{to} to keep the tensors around this step"
        ));
    }
    if report.lacks_only_weights() {
        hints.push("note: --allow-no-weights accepts a comparison without weights".into());
    }
    if report.has_pickle() {
        hints.push(
            "note: if you trust the .ckpt, convert it with scripts/parity_checkpoint.py RUN.ckpt model.safetensors".into(),
        );
    }
    hints
}

fn picture(error: &digit::Error) -> Option<&'static str> {
    const NAME_ONE: &str = "name a picture of a digit: a PNG, JPEG, WebP, GIF, BMP or TIFF";
    const SMALLER: &str = "use a smaller picture; a few hundred pixels are enough";
    match error {
        digit::Error::File(file::Error::TooLarge { .. }) => Some(SMALLER),
        digit::Error::File(file::Error::NotRegular { .. }) => Some(NAME_ONE),
        digit::Error::File(error) => error.is_not_found().then_some(NAME_ONE),
        digit::Error::Picture { reason, .. } => Some(match reason {
            PictureError::UnknownFormat => "convert it to one of them",
            PictureError::Unreadable { .. } => "save the picture again as a plain PNG or JPEG",
            PictureError::TooLarge { .. } => SMALLER,
            PictureError::TooSmall { .. } => "use a larger one, a few hundred pixels wide",
            PictureError::NoDigit => "use a picture with more contrast",
        }),
    }
}

fn figure(error: &chart::Error) -> Option<&'static str> {
    match error {
        chart::Error::Csv { reason: CsvError::NoColumn { names, .. }, .. } if names != "epoch" => {
            Some("choose others with --y")
        }
        chart::Error::Csv { reason: CsvError::HeaderAgain { .. }, .. } => {
            Some("split the file there, and plot the parts as two runs")
        }
        _ => None,
    }
}

fn run(error: &run::Error) -> Option<&'static str> {
    match error {
        run::Error::NoMachine(_) => Some("name a run.json or a .trace that version 0.2 or newer wrote"),
        run::Error::OfReproduce(_) => Some("run `reproduce` again, or start a new run with `train`"),
        run::Error::OtherData(_) => Some("choose another folder with --data-dir"),
        run::Error::Data(error) => data(error),
        run::Error::NoCheckpoint { reason, .. } => run(reason),
        run::Error::NoFolder(_) => Some("name the version_N folder of a run"),
        run::Error::Running(_) => Some("wait until it ends, or stop it"),
        run::Error::Checkpoint(error) => lightning(error),
        run::Error::BatchWithoutGpu { .. } => Some(
            "its draws for larger batches depend on the GPU; use a smaller --batch-size, --device cuda or --generator cpu",
        ),
        _ => None,
    }
}

fn device(error: &NoDevice) -> Option<&'static str> {
    match error {
        NoDevice::Cuda(missing) => cuda(missing),
        NoDevice::Mps => Some("use --device cpu"),
    }
}

pub(super) fn cuda(missing: &NoCuda) -> Option<&'static str> {
    Some(match missing {
        NoCuda::Driver(_) => "install one, or use --device cpu",
        NoCuda::Hidden => "unset it, or use --device cpu",
        NoCuda::CpuOnly(_) => "scripts/reproduce.sh --cuda fetches one with CUDA; or use --device cpu",
        NoCuda::NotLoadable(_) => "scripts/reproduce.sh --cuda fetches what it needs; or use --device cpu",
        NoCuda::TooLate => "please report it; --device cpu works around it",
        NoCuda::Index { .. } => "check nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu",
        NoCuda::NoKernels { .. } => "set LIBTORCH to a libtorch that has code for it, or use --device cpu",
        NoCuda::Unusable { .. } => "check nvidia-smi, or use --device cpu",
    })
}
