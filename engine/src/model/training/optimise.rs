//! The optimiser's step over all parameters, and what must be stored to go on later.

use super::Learner;
use super::tuned::{Parameter, Place, Tuned};
use crate::device::{AdamStep, Backward, Device, Element, Moments, Update};
use crate::model::mistral::Mistral;
use crate::random::mix;
use crate::weights::AdapterPart;
use crate::{Error, Result};
use half::bf16;
use std::sync::Arc;

/// One step of AdamW for all parameters.
#[derive(Debug, Clone, Copy)]
pub struct StepOptions {
    /// Number of the step, from 1.
    pub number: u64,
    /// Learning rate.
    pub rate: f64,
    /// Decay of mean and mean square.
    pub beta: [f64; 2],
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// Decoupled decay of matrices; vectors have none.
    pub decay: f64,
    /// What gradients are multiplied with first: clipping.
    pub scale: f64,
    /// Seed of stochastic rounding.
    pub seed: u64,
}

/// A stored tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum StateValues {
    /// In f32.
    Full(Vec<f32>),
    /// In bf16.
    Half(Vec<bf16>),
}

impl<D: Backward> Learner<D> {
    /// Zeroes all gradients.
    pub fn clear_gradients(&mut self) -> Result<()> {
        let device = &self.model.device;
        self.parameters
            .iter()
            .zip(&mut self.gradients)
            .try_for_each(|(p, gradient)| device.clear(gradient, [1, p.len()]))
    }

    /// The Euclidean norm of all gradients together.
    pub fn gradient_norm(&self) -> Result<f64> {
        let squares = |(p, gradient): (&Parameter, _)| self.model.device.sum_squares(gradient, p.len());
        let squares: Vec<f64> = self.parameters.iter().zip(&self.gradients).map(squares).collect::<Result<_>>()?;
        Ok(squares.iter().sum::<f64>().sqrt())
    }

    /// The gradient of the parameter `name`.
    pub fn gradient(&self, name: &str) -> Result<Vec<f32>> {
        let number = self.parameters.iter().position(|p| p.name == name);
        let Some(number) = number else { return Err(Error::invalid(format!("no tuned parameter {name}"))) };
        read(&self.model.device, &self.gradients[number], self.parameters[number].len())
    }

    /// Changes all parameters by one step of AdamW.
    pub fn step(&mut self, options: &StepOptions) -> Result<()> {
        let StepOptions { number, rate, beta, epsilon, decay, scale, seed } = *options;
        let correction = beta.map(|beta| (1.0 / (1.0 - beta.powi(number.min(1 << 30) as i32))) as f32);
        for i in 0..self.parameters.len() {
            let (place, len) = (self.parameters[i].place, self.parameters[i].len());
            let decay = if self.parameters[i].shape.len() == 1 { 0.0 } else { decay as f32 };
            let key = mix(mix(mix(seed).wrapping_add(number)).wrapping_add(i as u64));
            let (rate, epsilon, scale) = (rate as f32, epsilon as f32, scale as f32);
            let step = AdamStep { rate, beta: beta.map(|b| b as f32), epsilon, decay, correction, scale, key };
            let (gradient, moments) = (&self.gradients[i], &mut self.moments[i]);
            // Full tuning has the model for itself, LoRA does not change it.
            let (owner, tuned) = (&mut self.model, &mut self.tuned);
            match tuned {
                Tuned::Lora { .. } => {
                    let matrix = update_of(tuned, place)?;
                    owner.device.adamw(&step, gradient, len, moments, Update::Matrix(matrix))?;
                }
                Tuned::Full { .. } => {
                    let Mistral { device, embedding, head, norm, blocks, .. } = alone(owner)?;
                    let parameter = match place {
                        Place::Embedding => Update::Matrix(embedding),
                        Place::Projection(layer, p) => Update::Matrix(&mut blocks[layer].projections[p]),
                        Place::Head => Update::Matrix(head.as_mut().ok_or_else(nowhere)?),
                        Place::Norm => Update::Vector(norm),
                        Place::InputNorm(layer) => Update::Vector(&mut blocks[layer].input_norm),
                        Place::AttentionNorm(layer) => Update::Vector(&mut blocks[layer].attention_norm),
                        Place::A(..) | Place::B(..) => return Err(nowhere()),
                    };
                    device.adamw(&step, gradient, len, moments, parameter)?;
                }
            }
        }
        Ok(())
    }

    /// The adapter as it is now; empty in full tuning.
    pub fn adapter(&self) -> Result<Vec<AdapterPart>> {
        self.tuned.adapter(&self.model.device)
    }

    /// Hands parameters and the optimiser's state to `store`, tensor by tensor, under names of their own.
    pub fn store(&self, store: &mut dyn FnMut(&str, StateValues) -> Result<()>) -> Result<()> {
        let d = &self.model.device;
        for (parameter, moments) in self.parameters.iter().zip(&self.moments) {
            let (name, len) = (&parameter.name, parameter.len());
            match moments {
                Moments::Full { m, v, master } => {
                    let values = match self.vector(parameter.place) {
                        Some(vector) => read(d, vector, len)?,
                        None => read(d, master, len)?,
                    };
                    store(name, StateValues::Full(values))?;
                    store(&format!("{name}.mean"), StateValues::Full(read(d, m, len)?))?;
                    store(&format!("{name}.square"), StateValues::Full(read(d, v, len)?))?;
                }
                Moments::Half { m, v } => {
                    let matrix = self.tuned.matrix(&self.model, parameter.place)?;
                    store(name, StateValues::Half(d.read_matrix(matrix)?))?;
                    store(&format!("{name}.mean"), StateValues::Half(read(d, m, len)?))?;
                    store(&format!("{name}.square"), StateValues::Half(read(d, v, len)?))?;
                }
            }
        }
        Ok(())
    }

    /// Takes back what [`Learner::store`] handed out: `load(name)` returns the tensor.
    ///
    /// # Errors
    /// [`Error::Shape`] where a tensor has another length or type; those of `load`.
    pub fn load(&mut self, load: &mut dyn FnMut(&str) -> Result<StateValues>) -> Result<()> {
        for i in 0..self.parameters.len() {
            let (name, place, len) =
                (self.parameters[i].name.clone(), self.parameters[i].place, self.parameters[i].len());
            let values = [load(&name)?, load(&format!("{name}.mean"))?, load(&format!("{name}.square"))?];
            let weights: Vec<bf16> = match (values, &mut self.moments[i]) {
                (
                    [StateValues::Full(w), StateValues::Full(mean), StateValues::Full(square)],
                    Moments::Full { m, v, master },
                ) => {
                    let d = &self.model.device;
                    expect(&name, len, [w.len(), mean.len(), square.len()])?;
                    d.write(m, 0, &mean)?;
                    d.write(v, 0, &square)?;
                    if matches!(place, Place::Norm | Place::InputNorm(_) | Place::AttentionNorm(_)) {
                        let Mistral { device, norm, blocks, .. } = alone(&mut self.model)?;
                        let vector = match place {
                            Place::InputNorm(layer) => &mut blocks[layer].input_norm,
                            Place::AttentionNorm(layer) => &mut blocks[layer].attention_norm,
                            _ => norm,
                        };
                        device.write(vector, 0, &w)?;
                        continue;
                    }
                    d.write(master, 0, &w)?;
                    w.into_iter().map(bf16::from_f32).collect()
                }
                (
                    [StateValues::Half(w), StateValues::Half(mean), StateValues::Half(square)],
                    Moments::Half { m, v },
                ) => {
                    let d = &self.model.device;
                    expect(&name, len, [w.len(), mean.len(), square.len()])?;
                    d.write(m, 0, &mean)?;
                    d.write(v, 0, &square)?;
                    w
                }
                _ => return Err(Error::invalid(format!("{name}: stored in another precision than it is tuned in"))),
            };
            match place {
                Place::A(..) | Place::B(..) => {
                    self.model.device.write_matrix(update_of(&mut self.tuned, place)?, &weights)?;
                }
                _ => {
                    let Mistral { device, embedding, head, blocks, .. } = alone(&mut self.model)?;
                    let matrix = match place {
                        Place::Embedding => embedding,
                        Place::Projection(layer, p) => &mut blocks[layer].projections[p],
                        _ => head.as_mut().ok_or_else(nowhere)?,
                    };
                    device.write_matrix(matrix, &weights)?;
                }
            }
        }
        Ok(())
    }

    /// The values of a model's tensor under its HF name, f32 for vectors, bf16 for matrices: what full tuning made.
    pub fn tensor(&self, name: &str) -> Result<StateValues> {
        let parameter = self.parameters.iter().find(|p| p.name == name);
        let Some(parameter) = parameter else { return Err(Error::invalid(format!("no tuned parameter {name}"))) };
        let d = &self.model.device;
        match self.vector(parameter.place) {
            Some(vector) => Ok(StateValues::Full(read(d, vector, parameter.len())?)),
            None => Ok(StateValues::Half(d.read_matrix(self.tuned.matrix(&self.model, parameter.place)?)?)),
        }
    }

    fn vector(&self, place: Place) -> Option<&D::Buffer<f32>> {
        match place {
            Place::Norm => Some(&self.model.norm),
            Place::InputNorm(layer) => Some(&self.model.blocks[layer].input_norm),
            Place::AttentionNorm(layer) => Some(&self.model.blocks[layer].attention_norm),
            _ => None,
        }
    }
}

fn nowhere() -> Error {
    Error::internal("a parameter stands nowhere in the model")
}

fn alone<D: Backward>(model: &mut Arc<Mistral<D>>) -> Result<&mut Mistral<D>> {
    Arc::get_mut(model).ok_or_else(|| Error::invalid("full tuning: expected a model that nobody else uses"))
}

fn update_of<D: Backward>(tuned: &mut Tuned<D>, place: Place) -> Result<&mut D::Matrix> {
    match place {
        Place::A(layer, p) => tuned.update_mut(layer, p).map(|update| &mut update.a),
        Place::B(layer, p) => tuned.update_mut(layer, p).map(|update| &mut update.b),
        _ => None,
    }
    .ok_or_else(nowhere)
}

fn read<D: Device, T: Element>(device: &D, buffer: &D::Buffer<T>, len: usize) -> Result<Vec<T>> {
    let mut values = vec![T::zeroed(); len];
    device.read(buffer, 0, &mut values)?;
    Ok(values)
}

fn expect(name: &str, len: usize, found: [usize; 3]) -> Result<()> {
    if found != [len; 3] { Err(Error::shape(name, [len; 3], found)) } else { Ok(()) }
}
