use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt as _;

use super::*;
use crate::checkpoint::load_policy;

fn steps(count: usize, seed: u64, (o, a): (usize, usize)) -> Vec<Transition> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
    (0..count)
        .map(|t| Transition {
            observation: row(o),
            action: row(a),
            reward: row(1)[0],
            next_observation: row(o),
            terminated: false,
            truncated: t + 1 == count,
        })
        .collect()
}

fn config() -> Td3Config {
    Td3Config {
        hidden: vec![24, 24],
        batch: 32,
        initial_random_steps: 0,
        ..Td3Config::default()
    }
}

fn burn_network(shape: [usize; 2], parameters: &[f32], device: &Device) -> Vec<Tensor<2>> {
    let [inputs, outputs] = shape;
    let shapes = [
        [inputs, 24],
        [1, 24],
        [24, 24],
        [1, 24],
        [24, outputs],
        [1, outputs],
    ];
    let mut at = 0;
    shapes
        .map(|shape| {
            at += shape[0] * shape[1];
            let values = parameters[at - shape[0] * shape[1]..at].to_vec();
            Tensor::<2>::from_data(TensorData::new(values, shape), device).require_grad()
        })
        .to_vec()
}

fn burn_forward(p: &[Tensor<2>], x: Tensor<2>) -> Tensor<2> {
    let h = relu(x.matmul(p[0].clone()) + p[1].clone());
    let h = relu(h.matmul(p[2].clone()) + p[3].clone());
    h.matmul(p[4].clone()) + p[5].clone()
}

#[test]
fn the_actors_gradient_and_the_targets_agree_with_burn() {
    let (o, a, b) = (4, 2, 32);
    let mut td3 = Td3::new(PolicySpec::new(o, a), config(), 3).unwrap();
    td3.observe(&steps(50, 1, (o, a))).unwrap();
    // Away from where targets and networks are the same.
    td3.update().unwrap();
    td3.experience
        .sample(&td3.policy.normaliser, &mut td3.rng)
        .unwrap();
    let device = Device::flex().autodiff();
    let tensor = |values: &[f32], width: usize| {
        let rows = values.len() / width;
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), [rows, width]), &device)
    };
    let read = |t: Tensor<2>| t.into_data().try_to_vec::<f32>().unwrap();

    td3.compute_targets();
    let batch = td3.experience.batch.clone();
    let target_actor = burn_network([o, a], &td3.target_actor.parameters, &device);
    let next = tensor(&batch.next_observations, o);
    let noise = (tensor(&td3.noise, a) * 0.2).clamp(-0.5, 0.5);
    let action = (burn_forward(&target_actor, next.clone()).tanh() + noise).clamp(-1.0, 1.0);
    let inputs = Tensor::cat(vec![next, action], 1);
    let [q1, q2] = td3
        .critics
        .target_parameters()
        .map(|p| burn_forward(&burn_network([o + a, 1], p, &device), inputs.clone()));
    let expected = read(tensor(&batch.rewards, 1) + tensor(&batch.discounts, 1) * q1.min_pair(q2));
    for (own, burn) in td3.targets.iter().zip(&expected) {
        assert!((own - burn).abs() < 1e-5, "{own} {burn}");
    }

    let before = td3.policy.network.parameters.clone();
    td3.update_actor(&mut Metrics::new()).unwrap();
    let actor = burn_network([o, a], &before, &device);
    let critic = burn_network([o + a, 1], td3.critics.parameters()[0], &device);
    let seen = tensor(&batch.observations, o);
    let action = burn_forward(&actor, seen.clone()).tanh();
    let loss = -burn_forward(&critic, Tensor::cat(vec![seen, action], 1)).mean();
    let gradients = loss.backward();
    let burn: Vec<f32> = actor
        .iter()
        .flat_map(|p| read(Tensor::from_inner(p.grad(&gradients).unwrap())))
        .collect();
    assert_eq!(burn.len(), td3.actor_gradient.len());
    for (index, (own, burn)) in td3.actor_gradient.iter().zip(&burn).enumerate() {
        assert!((own - burn).abs() < 1e-5, "{index}: {own} {burn}");
    }
    assert!(
        burn.iter().any(|g| g.abs() > 1e-3),
        "the comparison says something"
    );
    assert_eq!(b, batch.rewards.len());
}

#[test]
fn goes_on_from_a_checkpoint_to_the_bit_and_its_actor_is_loaded_as_it_was() {
    let shape = (3, 2);
    let config = Td3Config {
        n_step: 3,
        ..config()
    };
    let mut td3 = Td3::new(PolicySpec::new(3, 2), config, 5).unwrap();
    td3.observe_demonstration(&steps(20, 9, shape)).unwrap();
    let learn = |td3: &mut Td3, seed| {
        let mut experience = steps(30, seed, shape);
        for step in &mut experience {
            step.action = td3.act(&step.observation, Mode::Explore).unwrap();
        }
        td3.observe(&experience).unwrap();
        while td3.updates_due() > 0 {
            td3.update().unwrap();
        }
    };
    learn(&mut td3, 1);
    let dir = tempfile::tempdir().unwrap();
    td3.save(dir.path()).unwrap();
    let mut again = Td3::resume(dir.path()).unwrap();
    for learner in [&mut td3, &mut again] {
        learn(learner, 2);
    }
    assert_eq!(
        td3.policy.network.parameters,
        again.policy.network.parameters
    );
    assert_eq!(td3.critics.parameters(), again.critics.parameters());
    assert_eq!(
        td3.critics.target_parameters(),
        again.critics.target_parameters()
    );
    assert_eq!((td3.updates(), td3.steps(), td3.episodes()), (60, 60, 2));

    td3.save(dir.path()).unwrap();
    let mut loaded = load_policy(dir.path()).unwrap();
    let seen = [0.3, -0.2, 0.9];
    for mode in [Mode::Exploit, Mode::Explore] {
        assert_eq!(
            loaded.act(&seen, mode).unwrap(),
            td3.policy.act(&seen, mode).unwrap()
        );
    }
}

/// A point on a line is to be at 0.5; it moves by a tenth of the action.
#[test]
fn learns_to_stand_where_the_reward_is() {
    let config = Td3Config {
        hidden: vec![32, 32],
        batch: 64,
        discount: 0.9,
        initial_random_steps: 200,
        actor_adam: crate::AdamConfig {
            learning_rate: 1e-3,
            ..Default::default()
        },
        ..config()
    };
    let mut td3 = Td3::new(PolicySpec::new(1, 1), config, 0).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut episode = |td3: &mut Td3, mode| {
        let mut at: f32 = rng.random_range(-1.0..1.0);
        let steps: Vec<Transition> = (0..30)
            .map(|t| {
                let action = td3.act(&[at], mode).unwrap();
                let before = at;
                at = (at + 0.1 * action[0]).clamp(-1.5, 1.5);
                Transition {
                    observation: vec![before],
                    action,
                    reward: -(at - 0.5).abs(),
                    next_observation: vec![at],
                    terminated: false,
                    truncated: t == 29,
                }
            })
            .collect();
        (steps, at)
    };
    for _ in 0..60 {
        let (steps, _) = episode(&mut td3, Mode::Explore);
        td3.observe(&steps).unwrap();
        while td3.updates_due() > 0 {
            td3.update().unwrap();
        }
    }
    for _ in 0..10 {
        let (_, end) = episode(&mut td3, Mode::Exploit);
        assert!((end - 0.5).abs() < 0.1, "{end}");
    }
}

#[test]
fn a_reward_that_is_no_number_is_refused_and_senseless_settings_are_named() {
    let mut td3 = Td3::new(PolicySpec::new(1, 1), config(), 0).unwrap();
    let mut bad = steps(3, 0, (1, 1));
    bad[1].reward = f32::NAN;
    let said = td3.observe(&bad).unwrap_err().to_string();
    assert!(said.contains("reward[0] at step 1"), "{said}");
    let none = Td3Config {
        target_noise: -1.0,
        ..config()
    };
    assert!(
        none.validate()
            .unwrap_err()
            .to_string()
            .contains("target_noise")
    );
}

/// Pays for the first action component.
struct FirstAction(usize);

impl rapport_reward::Relabel for FirstAction {
    fn relabel(
        &self,
        steps: &rapport_reward::Steps,
    ) -> Result<Vec<f64>, rapport_reward::RewardError> {
        Ok(steps
            .inputs
            .rows()
            .map(|row| f64::from(row[self.0]))
            .collect())
    }
}

#[test]
fn a_rewarder_is_asked_instead_of_what_was_stored() {
    let (o, a) = (4, 2);
    let experience = steps(200, 5, (o, a));
    // The same reward, once stored and once asked for; what is stored in the second case is wrong.
    let mut stored = experience.clone();
    for step in &mut stored {
        step.reward = step.action[0];
    }
    let learn = |steps: &[Transition], rewarder: Option<FirstAction>| {
        let mut td3 = Td3::new(PolicySpec::new(o, a), config(), 3).unwrap();
        td3.observe(steps).unwrap();
        if let Some(rewarder) = rewarder {
            td3.set_rewarder(std::sync::Arc::new(rewarder)).unwrap();
        }
        for _ in 0..5 {
            td3.update().unwrap();
        }
        td3.policy().network.parameters
    };
    let asked = learn(&experience, Some(FirstAction(o)));
    assert_eq!(asked, learn(&stored, None));
    assert_ne!(asked, learn(&experience, None));
}

#[test]
fn a_rewarder_goes_with_targets_of_one_step_only() {
    let config = Td3Config {
        n_step: 3,
        ..config()
    };
    let mut td3 = Td3::new(PolicySpec::new(4, 2), config, 3).unwrap();
    let error = td3.set_rewarder(std::sync::Arc::new(FirstAction(4)));
    assert!(error.unwrap_err().to_string().contains("n_step"));
}
