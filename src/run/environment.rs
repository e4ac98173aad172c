//! The program and the machine that a run is of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::torch::libtorch;

/// The program and the machine.
///
/// ```
/// use islp_mnist::run::Environment;
///
/// let environment = Environment::current();
/// assert_eq!(environment.changed(&environment), []);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The processor's name; none if the system does not say, or an older version wrote this.
    pub processor: Option<String>,
    /// libtorch's kernels for this processor, as `torch.backends.cpu.get_cpu_capability()`.
    pub cpu_capability: String,
    /// The version of libtorch; none if it does not say.
    pub libtorch: Option<String>,
    /// The version of tch; none if Python wrote this, by scripts/train.py.
    pub tch: Option<String>,
    /// The version of this crate.
    pub islp_mnist: String,
    /// The commit it was built from, with "-modified" where the sources were not that commit's; none outside git.
    pub git_commit: Option<String>,
}

/// A difference between two environments that may change the last digits of a run's results.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    what: &'static str,
    then: Option<String>,
    now: Option<String>,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [then, now] = [&self.then, &self.now].map(|value| value.as_deref().unwrap_or("unknown"));
        write!(f, "{} was {then} and is {now}; the results may differ in their last digits", self.what)
    }
}

impl Environment {
    /// The environment of this process.
    pub fn current() -> Self {
        Self {
            processor: libtorch::processor(),
            cpu_capability: libtorch::cpu_capability().into(),
            libtorch: libtorch::version().ok(),
            tch: Some(env!("TCH_VERSION").into()),
            islp_mnist: env!("CARGO_PKG_VERSION").into(),
            git_commit: option_env!("GIT_COMMIT").map(String::from),
        }
    }

    /// The differences of `now` from this environment.
    pub fn changed(&self, now: &Self) -> Vec<Changed> {
        let capability = |environment: &Self| Some(environment.cpu_capability.clone());
        let pairs = [
            ("CPU capability", capability(self), capability(now)),
            ("libtorch", self.libtorch.clone(), now.libtorch.clone()),
        ];
        let changed = pairs.into_iter().filter(|(_, then, now)| then != now);
        changed.map(|(what, then, now)| Changed { what, then, now }).collect()
    }
}
