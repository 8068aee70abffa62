//! The optimiser's step over all parameters, and what must be stored to go on later.

use super::Learner;
use super::tuned::{self, Parameter, Place, Tuned};
use crate::device::{AdamStep, AdamTensor, Backward, Device, Element, Moments, Update};
use crate::model::mistral::{Block, Mistral};
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
        let gradients: Vec<_> = self.gradients.iter().zip(self.parameters.iter().map(Parameter::len)).collect();
        Ok(self.model.device.sum_squares(&gradients)?.iter().sum::<f64>().sqrt())
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
        let (rate, beta, epsilon, scale) = (rate as f32, beta.map(|b| b as f32), epsilon as f32, scale as f32);
        let step = AdamStep { rate, beta, epsilon, correction, scale };
        let (device, updates) = updates(&mut self.model, &mut self.tuned)?;
        let state = self.parameters.iter().zip(&self.gradients).zip(&mut self.moments);
        let tensor = |(i, (((p, gradient), moments), parameter)): (usize, (((&Parameter, _), _), _))| AdamTensor {
            gradient,
            len: p.len(),
            moments,
            parameter,
            decay: if p.shape.len() == 1 { 0.0 } else { decay as f32 },
            key: mix(mix(mix(seed).wrapping_add(number)).wrapping_add(i as u64)),
        };
        device.adamw(&step, state.zip(updates).enumerate().map(tensor).collect())
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
        let (device, updates) = updates(&mut self.model, &mut self.tuned)?;
        for ((parameter, moments), update) in self.parameters.iter().zip(&mut self.moments).zip(updates) {
            let (name, len) = (&parameter.name, parameter.len());
            let values = [load(name)?, load(&format!("{name}.mean"))?, load(&format!("{name}.square"))?];
            match (values, moments, update) {
                (
                    [StateValues::Full(w), StateValues::Full(mean), StateValues::Full(square)],
                    Moments::Full { m, v, master },
                    update,
                ) => {
                    expect(name, len, [w.len(), mean.len(), square.len()])?;
                    device.write(m, 0, &mean)?;
                    device.write(v, 0, &square)?;
                    match update {
                        Update::Vector(vector) => device.write(vector, 0, &w)?,
                        Update::Matrix(matrix) => {
                            device.write(master, 0, &w)?;
                            device.write_matrix(matrix, &w.into_iter().map(bf16::from_f32).collect::<Vec<_>>())?;
                        }
                    }
                }
                (
                    [StateValues::Half(w), StateValues::Half(mean), StateValues::Half(square)],
                    Moments::Half { m, v },
                    Update::Matrix(matrix),
                ) => {
                    expect(name, len, [w.len(), mean.len(), square.len()])?;
                    device.write(m, 0, &mean)?;
                    device.write(v, 0, &square)?;
                    device.write_matrix(matrix, &w)?;
                }
                _ => return Err(Error::invalid(format!("{name}: stored in another precision than it is tuned in"))),
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

/// The device, and what a step changes, in the order of the parameters.
fn updates<'a, D: Backward>(
    model: &'a mut Arc<Mistral<D>>,
    tuned: &'a mut Tuned<D>,
) -> Result<(&'a D, Vec<Update<'a, D>>)> {
    match tuned {
        Tuned::Lora { updates, .. } => {
            let both = |update: &'a mut tuned::Update<D>| {
                let tuned::Update { a, b, .. } = update;
                [Update::Matrix(a), Update::Matrix(b)]
            };
            Ok((&model.device, updates.iter_mut().flatten().flatten().flat_map(both).collect()))
        }
        // Full tuning has the model for itself, LoRA does not change it.
        Tuned::Full { .. } => {
            let model = Arc::get_mut(model);
            let model = model.ok_or_else(|| Error::invalid("full tuning: expected a model that nobody else uses"))?;
            let Mistral { device, embedding, head, norm, blocks, .. } = model;
            let mut all = vec![Update::Matrix(embedding)];
            for Block { input_norm, attention_norm, projections: [q, k, v, o, gate, up, down] } in blocks {
                all.push(Update::Vector(input_norm));
                all.extend([q, k, v, o].map(Update::Matrix));
                all.push(Update::Vector(attention_norm));
                all.extend([gate, up, down].map(Update::Matrix));
            }
            all.push(Update::Vector(norm));
            all.extend(head.as_mut().map(Update::Matrix));
            Ok((device, all))
        }
    }
}

fn read<D: Device, T: Element>(device: &D, buffer: &D::Buffer<T>, len: usize) -> Result<Vec<T>> {
    let mut values = vec![T::zeroed(); len];
    device.read(buffer, 0, &mut values)?;
    Ok(values)
}

fn expect(name: &str, len: usize, found: [usize; 3]) -> Result<()> {
    if found != [len; 3] { Err(Error::shape(name, [len; 3], found)) } else { Ok(()) }
}
