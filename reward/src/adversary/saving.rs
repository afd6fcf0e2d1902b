//! [`Adversary`] to and from a safetensors file, so that a run that was stopped goes on to the same bits.

use std::collections::{BTreeMap, HashMap};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::discriminator::Adversary;
use crate::model::RewardError;
use crate::network::{self, Descent};
use crate::store::{Tensor, Tensors};

/// Names of its parts.
const NETWORK: &str = "network.";
const POWER: &str = "power.";
const ROLLOUTS: &str = "rollouts";
const OPTIMISER: &str = "optimiser";
const RNG: &str = "rng";
const COUNTS: &str = "counts";

type Part = (Dtype, Vec<usize>, Vec<u8>);

fn broken(what: &str) -> RewardError {
    RewardError::Other(format!(
        "the adversary's file has no good `{what}`; begin the run anew"
    ))
}

fn floats(shape: &[usize], values: &[f32]) -> Part {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (Dtype::F32, shape.to_vec(), bytes)
}

fn words(values: &[u64]) -> Part {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (Dtype::U64, vec![values.len()], bytes)
}

fn read_floats(file: &SafeTensors, name: &str) -> Result<Vec<f32>, RewardError> {
    let view = file.tensor(name).map_err(|_| broken(name))?;
    if view.dtype() != Dtype::F32 {
        return Err(broken(name));
    }
    let (words, _) = view.data().as_chunks::<4>();
    Ok(words.iter().map(|w| f32::from_le_bytes(*w)).collect())
}

fn read_words<const N: usize>(file: &SafeTensors, name: &str) -> Result<[u64; N], RewardError> {
    let view = file.tensor(name).map_err(|_| broken(name))?;
    let (words, _) = view.data().as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|w| u64::from_le_bytes(*w)).collect();
    words.try_into().map_err(|_| broken(name))
}

impl Adversary {
    /// All that changes while it learns, as a safetensors file with `notes` in it.
    ///
    /// # Errors
    /// [`RewardError::Other`] where a tensor cannot be read.
    pub fn to_bytes(&self, notes: HashMap<String, String>) -> Result<Vec<u8>, RewardError> {
        let mut parts: BTreeMap<String, Part> = BTreeMap::new();
        for (name, tensor) in network::tensors(&self.network)? {
            parts.insert(
                format!("{NETWORK}{name}"),
                floats(&tensor.shape, &tensor.values),
            );
        }
        for (layer, vector) in self.power.vectors().iter().enumerate() {
            parts.insert(format!("{POWER}{layer}"), floats(&[vector.len()], vector));
        }
        let rows = self.rollouts.len() / self.width;
        parts.insert(ROLLOUTS.into(), floats(&[rows, self.width], &self.rollouts));
        let optimiser = self.descent.to_bytes()?;
        parts.insert(
            OPTIMISER.into(),
            (Dtype::U8, vec![optimiser.len()], optimiser),
        );
        let position = self.rng.get_word_pos();
        let mut rng: Vec<u64> = Vec::with_capacity(7);
        let seed = self.rng.get_seed();
        rng.extend(
            seed.as_chunks::<8>()
                .0
                .iter()
                .map(|b| u64::from_le_bytes(*b)),
        );
        rng.extend([
            self.rng.get_stream(),
            position as u64,
            (position >> 64) as u64,
        ]);
        parts.insert(RNG.into(), words(&rng));
        let counts = [self.oldest as u64, self.descent.steps() as u64];
        parts.insert(COUNTS.into(), words(&counts));
        let views = parts
            .iter()
            .map(|(name, (dtype, shape, bytes))| {
                TensorView::new(*dtype, shape.clone(), bytes)
                    .map(|view| (name.as_str(), view))
                    .map_err(|e| RewardError::Other(format!("tensor `{name}`: {e}")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        safetensors::serialize(views, Some(notes)).map_err(|e| RewardError::Other(e.to_string()))
    }

    /// Goes on where [`Adversary::to_bytes`] was called, to the same bits; gives the notes back. For an adversary that was made with the same
    /// demonstrations, settings and seed.
    ///
    /// # Errors
    /// [`RewardError::Other`] on a file of another network, or none.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<HashMap<String, String>, RewardError> {
        let file = SafeTensors::deserialize(bytes).map_err(|_| broken("form"))?;
        let mut stored = Tensors::new();
        for (name, view) in file.tensors() {
            if let Some(key) = name.strip_prefix(NETWORK) {
                let values = read_floats(&file, &name)?;
                let shape = view.shape().to_vec();
                stored.insert(key.to_owned(), Tensor { shape, values });
            }
        }
        let network = network::numbered(network::load(self.network.clone(), &stored)?);
        let mut vectors = Vec::new();
        for (layer, old) in self.power.vectors().iter().enumerate() {
            let name = format!("{POWER}{layer}");
            let vector = read_floats(&file, &name)?;
            if vector.len() != old.len() {
                return Err(broken(&name));
            }
            vectors.push(vector);
        }
        let rollouts = read_floats(&file, ROLLOUTS)?;
        let [oldest, steps] = read_words(&file, COUNTS)?;
        let whole = rollouts.len().is_multiple_of(self.width);
        if !whole || rollouts.len() > self.config.memory * self.width {
            return Err(broken(ROLLOUTS));
        }
        let optimiser = file.tensor(OPTIMISER).map_err(|_| broken(OPTIMISER))?;
        let descent =
            Descent::from_bytes(self.descent.rate, 0.0, optimiser.data(), steps as usize)?;
        let rng: [u64; 7] = read_words(&file, RNG)?;
        let mut seed = [0; 32];
        for (bytes, word) in seed.chunks_exact_mut(8).zip(rng) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        self.rng = ChaCha8Rng::from_seed(seed);
        self.rng.set_stream(rng[4]);
        self.rng
            .set_word_pos(u128::from(rng[5]) | u128::from(rng[6]) << 64);
        self.power.set_vectors(vectors);
        (self.network, self.rollouts, self.descent) = (network, rollouts, descent);
        self.oldest = (oldest as usize).min(self.config.memory.saturating_sub(1));
        self.now = std::sync::Arc::new(self.freeze()?);
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|_| broken("form"))?;
        Ok(header.metadata().clone().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use rapport_perception::{EncoderSpec, Features};

    use super::*;
    use crate::adversary::{AdversaryConfig, Lipschitz, Relabel as _, Steps};
    use crate::model::Clip;

    fn states(count: usize, side: f32) -> Features {
        let wave = |i: usize, k: usize| ((i * (k + 3)) as f32 * 0.7).sin();
        let rows = (0..count).flat_map(|i| [side, wave(i, 0), wave(i, 1), side * wave(i, 2)]);
        Features::new(4, rows.collect())
    }

    fn steps(from: f32) -> Steps {
        Steps {
            inputs: states(30, from),
            absorbing: Vec::new(),
        }
    }

    fn begin(lipschitz: Lipschitz) -> Adversary {
        let encoder = EncoderSpec {
            name: "made".into(),
            dim: 4,
            fingerprint: "ad".repeat(32),
        };
        let config = AdversaryConfig {
            lipschitz,
            batch: 16,
            memory: 50,
            ..AdversaryConfig::default()
        };
        let clip = Clip::from_features(states(40, 1.0), 10.0);
        Adversary::new(&encoder, &[clip], &config, 3).unwrap()
    }

    fn learn(adversary: &mut Adversary, rounds: std::ops::Range<u8>) -> Vec<f64> {
        for round in rounds {
            adversary.observe(&steps(-0.2 * f32::from(round))).unwrap();
            adversary.update(5).unwrap();
        }
        adversary.relabel(&steps(0.3)).unwrap()
    }

    #[test]
    fn put_down_and_taken_up_again_it_ends_in_the_same_bits() {
        for lipschitz in [Lipschitz::Penalty, Lipschitz::Spectral, Lipschitz::Both] {
            let mut straight = begin(lipschitz);
            let whole = learn(&mut straight, 0..6);
            let mut first = begin(lipschitz);
            learn(&mut first, 0..3);
            let notes = HashMap::from([("owed".to_owned(), "0.5".to_owned())]);
            let file = first.to_bytes(notes.clone()).unwrap();
            let mut second = begin(lipschitz);
            assert_eq!(second.restore(&file).unwrap(), notes);
            assert_eq!(
                second.relabel(&steps(0.3)).unwrap(),
                first.relabel(&steps(0.3)).unwrap()
            );
            assert_eq!(learn(&mut second, 3..6), whole);
        }
    }

    #[test]
    fn a_file_that_is_none_or_of_another_network_is_refused() {
        let mut adversary = begin(Lipschitz::Penalty);
        assert!(adversary.restore(b"nothing").is_err());
        let file = adversary.to_bytes(HashMap::new()).unwrap();
        adversary.width = 3;
        adversary.network = network::numbered(crate::network::Network::new(
            &adversary.config.network,
            3,
            1,
            &mut ChaCha8Rng::seed_from_u64(0),
            &network::training_device(),
        ));
        let error = adversary.restore(&file).unwrap_err().to_string();
        assert!(error.contains("layers.0.weight"), "{error}");
    }
}
