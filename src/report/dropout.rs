//! Why a model with dropout is better in validation than in training.

use serde_json::Value;

use super::pictures::percent;
use super::run::Run;
use super::{Error, TestImages};
use crate::chart::{Metric, last_value, train_points, valid_points};
use crate::islp::SimpleDataModule;
use crate::lightning::evaluate;
use crate::run::{RunOptions, TrainOptions};
use crate::torch::Generator;
use crate::torch::nn::LayerInfo;

/// The images of a batch, when the bits of the result don't matter.
const BATCH_SIZE: usize = 1000;

/// Explains a validation accuracy above the training accuracy of the last epoch; none if it is not above, or the model has
/// no dropout.
/// If the run's split is known, says what the training accuracy is without dropout.
pub fn why_validation_is_above(run: &Run, images: &TestImages) -> Result<Option<String>, Error> {
    let (Some(csv), Ok((module, _))) = (&run.metrics_csv, &run.model) else { return Ok(None) };
    let (train, valid) =
        (last_value(train_points(Metric::Accuracy, csv)), last_value(valid_points(Metric::Accuracy, csv)));
    let (Some(train), Some(valid)) = (train, valid) else { return Ok(None) };
    if valid <= train || !has_dropout(&module.model.info()) {
        return Ok(None);
    }
    let mut text = format!(
        "In the last epoch the accuracy is {} in validation and {} in training. In training dropout is on, and the \
         accuracy is a mean over an epoch in which the model still learns. Validation comes after the epoch, without \
         dropout.",
        percent(valid),
        percent(train)
    );
    if let Some((validation, generator)) = split(run.run_json.get("options")) {
        let data = SimpleDataModule::new(images.get()?, validation, 0, BATCH_SIZE, &generator)?;
        let trained = evaluate(module, &mut data.train_dataloader(), usize::MAX)?.compute(module)?;
        text += &format!(
            " Without dropout, the final model reads {} of the training images.",
            percent(trained.accuracy.into())
        );
    }
    Ok(Some(text))
}

fn has_dropout(layer: &LayerInfo) -> bool {
    layer.class_name == "Dropout" || layer.children.iter().any(has_dropout)
}

/// The fraction held out and the generator of the split, from a run's options.
fn split(options: Option<&Value>) -> Option<(f64, Generator)> {
    let options = options?;
    if let Ok(options) = serde_json::from_value::<TrainOptions>(options.clone()) {
        return Some((options.run.validation, options.generator()));
    }
    let options: RunOptions = serde_json::from_value(options.clone()).ok()?;
    Some((options.validation, Generator::new(options.seed)))
}
