//! A [`PreferenceHead`] on disk.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::condition::Appended;
use super::config::HeadConfig;
use super::model::PreferenceHead;
use super::scorer::InputMap;
use crate::model::RewardError;
use crate::network::{self, Network};
use crate::store::{Parts, StoredReward, Tensor, Tensors, prefixed, to_toml};
use burn::tensor::Device;

impl InputMap {
    /// Means and scales, for a reward's file.
    pub(crate) fn tensors(&self) -> Tensors {
        let width = self.width();
        let tensor = |values: &[f32]| Tensor {
            shape: vec![width],
            values: values.to_vec(),
        };
        Tensors::from([
            ("mean".into(), tensor(&self.mean)),
            ("scale".into(), tensor(&self.scale)),
        ])
    }

    /// Puts them back.
    pub(crate) fn with_tensors(mut self, tensors: &Tensors) -> Result<Self, RewardError> {
        let get = |name: &str| match tensors.get(name) {
            Some(tensor) if tensor.values.len() == self.width() => Ok(tensor.values.clone()),
            _ => Err(RewardError::Other(format!(
                "the inputs' `{name}` is missing or of another width; learn the reward again"
            ))),
        };
        (self.mean, self.scale) = (get("mean")?, get("scale")?);
        Ok(self)
    }
}

impl PreferenceHead {
    pub(crate) const KIND: &str = "preference-head";

    pub(crate) fn restore(parts: Parts) -> Result<Box<dyn StoredReward>, RewardError> {
        let config: HeadConfig = parts.table("settings")?;
        config.validate()?;
        let map: InputMap = parts.table("inputs")?;
        let map = map.with_tensors(&parts.tensors_under("inputs"))?;
        let mut condition: Appended = parts.table("condition")?;
        if let Appended::Table(table) = &mut condition {
            let vectors = parts.tensor("vectors")?.to_features()?;
            table.vectors = vectors.rows().map(<[f32]>::to_vec).collect();
        }
        let references: Vec<Vec<f32>> = parts
            .numbered("reference")
            .map(|t| t.values.clone())
            .collect();
        let whole = |rows: &Vec<f32>| !rows.is_empty() && rows.len().is_multiple_of(map.width());
        let wants_references = condition == Appended::Reference;
        if !references.iter().all(whole) || references.is_empty() == wants_references {
            return Err(RewardError::Other(
                "the clips to compare with are missing or of another width; learn the reward again"
                    .into(),
            ));
        }
        let offsets = parts.tensor("offsets")?.to_f64();
        if offsets.len() != config.members {
            return Err(RewardError::Other(format!(
                "there are {} offsets for {} members; learn the reward again",
                offsets.len(),
                config.members
            )));
        }
        let empty = Self::assemble(
            &parts.encoder,
            map.clone(),
            condition.clone(),
            references.clone(),
            &config,
            Vec::new(),
            Vec::new(),
        )?;
        let members = (0..config.members)
            .map(|k| {
                // What it starts with is overwritten.
                let mut rng = ChaCha8Rng::seed_from_u64(0);
                let network =
                    Network::new(&config.network, empty.width(), 1, &mut rng, &Device::flex());
                network::load(network, &parts.tensors_under(&format!("member.{k}")))
            })
            .collect::<Result<_, _>>()?;
        let head = Self::assemble(
            &parts.encoder,
            map,
            condition,
            references,
            &config,
            members,
            offsets,
        )?;
        Ok(Box::new(head))
    }
}

impl StoredReward for PreferenceHead {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn config(&self) -> Result<toml::Table, RewardError> {
        let parts = self.parts();
        let mut table = toml::Table::new();
        table.insert("settings".into(), to_toml(self.settings())?);
        table.insert("inputs".into(), to_toml(parts.map)?);
        table.insert("condition".into(), to_toml(parts.condition)?);
        Ok(table)
    }

    fn tensors(&self) -> Result<Tensors, RewardError> {
        let parts = self.parts();
        let width = parts.map.width();
        let mut all = prefixed("inputs", parts.map.tensors());
        all.insert(
            "offsets".into(),
            Tensor::from_f64(&[parts.offsets.len()], parts.offsets),
        );
        for (k, member) in parts.members.iter().enumerate() {
            let tensors = network::tensors(member)?;
            all.extend(prefixed(&format!("member.{k}"), tensors));
        }
        for (i, rows) in parts.references.iter().enumerate() {
            let tensor = Tensor {
                shape: vec![rows.len() / width, width],
                values: rows.clone(),
            };
            all.insert(format!("reference.{i}"), tensor);
        }
        if let Appended::Table(table) = parts.condition {
            let tensor = Tensor {
                shape: vec![
                    table.vectors.len(),
                    table.vectors.first().map_or(0, Vec::len),
                ],
                values: table.vectors.concat(),
            };
            all.insert("vectors".into(), tensor);
        }
        Ok(all)
    }
}
