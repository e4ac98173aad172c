//! What the options of a run take as their values.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use islp_mnist::notebook::models::Model;

/// Parses the name of a model.
pub fn model() -> impl TypedValueParser<Value = Model> {
    let value = |model: Model| {
        PossibleValue::new(model.name()).help(match model {
            Model::Mlp => {
                "The multilayer perceptron, MNISTModel: two hidden layers of 256 and 128 units with dropout"
            }
            Model::Mlr => "Multinomial logistic regression, MNIST_MLR",
        })
    };
    PossibleValuesParser::new(Model::ALL.map(value)).try_map(|name| name.parse::<Model>())
}

/// Parses a whole number from 1 on.
pub fn at_least_one(value: &str) -> Result<usize, String> {
    // Python's and libtorch's integers are signed.
    let number = value.parse::<i64>().ok().filter(|number| *number > 0);
    number.map(|number| number as usize).ok_or("must be a whole number, 1 or more".into())
}

/// Parses a whole number from 0 on.
pub fn at_least_zero(value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| "must be a whole number, 0 or more".into())
}

/// Parses a seed.
pub fn seed(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("must be a whole number from 0 to {}", u64::MAX))
}

/// Parses a fraction that is neither nothing nor all.
pub fn fraction(value: &str) -> Result<f64, String> {
    let inside = |fraction: &f64| *fraction > 0.0 && *fraction < 1.0;
    value.parse().ok().filter(inside).ok_or("must be a fraction above 0 and below 1, such as 0.2".into())
}

/// Parses a learning rate.
pub fn learning_rate(value: &str) -> Result<f64, String> {
    // The parameters are f32, and PyTorch's RMSprop fails with a rate beyond their range.
    let valid = |lr: &f64| (0.0..=f64::from(f32::MAX)).contains(lr);
    value.parse().ok().filter(valid).ok_or("must be a number from 0 to 3.4e38, such as 0.01".into())
}

/// Parses a number of threads.
pub fn threads(value: &str) -> Result<i32, String> {
    // OpenMP ends the process when it cannot start a thread, so the number is kept to what machines have.
    value
        .parse()
        .ok()
        .filter(|threads| (1..=1024).contains(threads))
        .ok_or("must be a whole number from 1 to 1024".into())
}

/// Parses the name of a folder.
pub fn name(value: &str) -> Result<String, String> {
    let is_plain = !value.is_empty()
        && !value.starts_with('.')
        && !value.contains('/')
        && !value.contains(char::is_control);
    if is_plain {
        Ok(value.into())
    } else {
        Err("must be the name of a folder, without '/', line breaks and the like, and '.' first".into())
    }
}
