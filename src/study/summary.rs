//! What a study says of its models, in words.

use std::fmt::{self, Display, Formatter};

use super::statistics::{
    Interval, binomial_error, bootstrap_mean, outperforms, quantile, standard_deviation,
};
use super::{Row, Varied};
use crate::notebook::models::Model;
use crate::run::End;
use crate::torch::Source;
use crate::util::text::count;

/// The test images of MNIST.
pub(super) const IMAGES: usize = 10_000;

/// What the notebook prints of a model's accuracy on the test images.
pub(super) fn printed(model: Model) -> f64 {
    match model {
        Model::Mlp => 0.966,
        Model::Mlr => 0.922,
    }
}

/// What the versions of the book's own notebook, ISLP_labs, print of it with seed 0: v1, v2, v2.2 and v2.2.1.
pub(super) fn printed_in_labs(model: Model) -> Vec<f64> {
    match model {
        Model::Mlp => vec![0.9681, 0.9657, 0.9620, 0.9641],
        // v2.2.1 prints what v2 does.
        Model::Mlr => vec![0.9241, 0.9235, 0.9161],
    }
}

/// The test accuracies of one model with one kind of seeds.
///
/// ```
/// use islp_mnist::study::{Summary, rows_in};
///
/// let summary = Summary::new(&rows_in("output/study".as_ref())?);
/// let mlp = &summary.distributions[0];
/// assert!(mlp.standard_deviation > mlp.binomial_error());
/// # Ok::<(), islp_mnist::study::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Distribution {
    /// The model.
    pub model: Model,
    /// What the seeds are of.
    pub varied: Varied,
    /// A test accuracy of each run that came to its end.
    pub accuracies: Vec<f64>,
    /// Runs that diverged or failed.
    pub others: usize,
    /// The mean, and where it lies.
    pub mean: Interval,
    /// The standard deviation.
    pub standard_deviation: f64,
}

/// Two models, by the seeds that both have.
///
/// ```
/// use islp_mnist::study::{Summary, rows_in};
///
/// let summary = Summary::new(&rows_in("output/study".as_ref())?);
/// let difference = summary.difference.unwrap();
/// assert!(difference.n == 100 && difference.outperforms.value > 0.9);
/// # Ok::<(), islp_mnist::study::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Difference {
    /// Seeds that both have.
    pub n: usize,
    /// The mean of how much more accurate the MLP is.
    pub mean: Interval,
    /// With so many seeds the MLP is the better one.
    pub wins: usize,
    /// How probable it is that the MLP is the better one.
    pub outperforms: Interval,
}

/// All of a study; as text what `islp-mnist study` prints.
///
/// ```
/// use islp_mnist::study::{Summary, rows_in};
///
/// let summary = Summary::new(&rows_in("output/study".as_ref())?).to_string();
/// assert!(summary.starts_with("MNISTModel, test accuracy over 100 seeds\n"));
/// # Ok::<(), islp_mnist::study::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Summary {
    /// Of each model and kind of seeds.
    pub distributions: Vec<Distribution>,
    /// Of the two models, where both were trained with `seed`.
    pub difference: Option<Difference>,
}

impl Summary {
    /// Of a study's rows.
    pub fn new(rows: &[Row]) -> Self {
        let kinds = [Varied::Seed].into_iter().chain(Source::ALL.map(Varied::Source));
        let groups = kinds.flat_map(|varied| Model::ALL.map(|model| (varied, model)));
        let distributions = groups.filter_map(|(varied, model)| {
            let rows: Vec<_> = rows.iter().filter(|row| row.model == model && row.varied == varied).collect();
            (!rows.is_empty()).then(|| Distribution::new(model, varied, &rows))
        });
        Self { distributions: distributions.collect(), difference: Difference::new(rows) }
    }
}

fn accuracy(row: &Row) -> Option<f64> {
    row.test_accuracy.filter(|_| row.end == End::MaxEpochs)
}

impl Distribution {
    fn new(model: Model, varied: Varied, rows: &[&Row]) -> Self {
        let accuracies: Vec<f64> = rows.iter().filter_map(|row| accuracy(row)).collect();
        Self {
            model,
            varied,
            others: rows.len() - accuracies.len(),
            mean: bootstrap_mean(&accuracies),
            standard_deviation: standard_deviation(&accuracies),
            accuracies,
        }
    }

    /// The lowest and the highest; NaN of nothing.
    pub fn range(&self) -> [f64; 2] {
        [0.0, 1.0].map(|q| quantile(&self.accuracies, q))
    }

    /// What the test images leave open in any case, around the mean.
    pub fn binomial_error(&self) -> f64 {
        binomial_error(self.mean.value, IMAGES)
    }

    /// The number of seeds whose test accuracy is below the notebook's.
    pub fn below_printed(&self) -> usize {
        // As f32, which the accuracies are.
        self.accuracies.iter().filter(|&&accuracy| (accuracy as f32) < printed(self.model) as f32).count()
    }
}

impl Difference {
    fn new(rows: &[Row]) -> Option<Self> {
        let of = |model| rows.iter().filter(move |row| row.model == model && row.varied == Varied::Seed);
        let pairs: Vec<(f64, f64)> = of(Model::Mlp)
            .filter_map(|mlp| {
                let mlr = of(Model::Mlr).find(|mlr| mlr.seed == mlp.seed)?;
                Some((accuracy(mlp)?, accuracy(mlr)?))
            })
            .collect();
        let differences: Vec<f64> = pairs.iter().map(|(mlp, mlr)| mlp - mlr).collect();
        (!pairs.is_empty()).then(|| Self {
            n: pairs.len(),
            mean: bootstrap_mean(&differences),
            wins: pairs.iter().filter(|(mlp, mlr)| mlp > mlr).count(),
            outperforms: outperforms(&pairs),
        })
    }
}

impl Display for Distribution {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { model, varied, accuracies, others, mean: center, standard_deviation } = self;
        let class_name = model.class_name();
        let what = match varied {
            Varied::Seed => "seeds".to_string(),
            Varied::Source(source) => format!("seeds of {source} alone"),
        };
        writeln!(f, "{class_name}, test accuracy over {} {what}", accuracies.len())?;
        if *others > 0 {
            writeln!(f, "  {others} more did not come to their end")?;
        }
        if accuracies.is_empty() {
            return Ok(());
        }
        let Interval { value, low, high } = center;
        write!(f, "  mean                {value:.4}")?;
        if accuracies.len() > 1 {
            write!(f, "   95 % interval {low:.4} to {high:.4} (bootstrap)")?;
        }
        writeln!(f)?;
        if accuracies.len() > 1 {
            writeln!(f, "  standard deviation  {standard_deviation:.4}")?;
        }
        let (median, [low, high]) = (quantile(accuracies, 0.5), self.range());
        writeln!(f, "  median              {median:.4}   range {low:.4} to {high:.4}")?;
        let binomial = self.binomial_error();
        writeln!(
            f,
            "  binomial error      {binomial:.4}   what {IMAGES} test images leave open in any case"
        )?;
        if *varied == Varied::Seed {
            let (below, n) = (self.below_printed(), accuracies.len());
            writeln!(
                f,
                "  the notebook's      {:.3}    {below} of {} are below it",
                printed(*model),
                count(n, "seed")
            )?;
        }
        Ok(())
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { n, mean, wins, outperforms } = self;
        writeln!(f, "MNISTModel and MNIST_MLR, by the {} of both", count(*n, "seed"))?;
        let Interval { value, low, high } = mean;
        writeln!(f, "  difference          {value:.4}   95 % interval {low:.4} to {high:.4} (bootstrap)")?;
        let Interval { value, low, high } = outperforms;
        write!(f, "  P(MLP > MLR)        {value:.4}   with {wins} of {}", count(*n, "seed"))?;
        // Where all agree the bootstrap sees nothing else.
        if (0.0..1.0).contains(low) && low < high {
            write!(f, ", 95 % interval {low:.4} to {high:.4} (bootstrap)")?;
        }
        writeln!(f)
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let texts = self.distributions.iter().map(ToString::to_string);
        let texts: Vec<String> = texts.chain(self.difference.iter().map(ToString::to_string)).collect();
        f.write_str(texts.join("\n").trim_end())
    }
}
