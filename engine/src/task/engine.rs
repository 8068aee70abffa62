//! The engine: one model with its tokenizer, templates and adapters, shared by sessions.

use super::answer::Provenance;
use super::frame::Frame;
use super::prompts::{Prompts, sha256_hex};
use super::request::{RunOptions, Template};
use super::session::Session;
use crate::decode::SpanCache;
use crate::device::{DeviceChoice, WeightStorage};
use crate::model::{self, AdapterId, LanguageModel, Opening, Placement};
use crate::text::{ChatTemplate, Tokenizer};
use crate::weights::{Checkpoint, PeftAdapter};
use crate::{Error, Result, reserve};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// What to load and how.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Model folder or `.gguf` file.
    pub model: PathBuf,
    /// Adapter folders by the names that requests choose them by.
    pub adapters: BTreeMap<String, PathBuf>,
    /// An adapter folder to add into the weights while loading.
    pub merge: Option<PathBuf>,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Threads of the processor to compute with; `None` takes one per core.
    pub threads: Option<usize>,
    /// Chat template of every run that names none. `None`: what `bmn.json` in the folder of the adapter in use, else of the
    /// merged adapter, else of the model says (`{"template": "zephyr"}` or `"model"`), else Zephyr.
    pub template: Option<Template>,
    /// Longest context in tokens, where less than the model's is wanted.
    pub context: Option<usize>,
    /// How a GPU stores the weights of projections.
    pub weights: WeightStorage,
    /// Overwrite a GPU's memory that held texts or what was computed from them before giving it back.
    pub wipe: bool,
}

/// Settings that lie beside weights tuned for this engine, in `bmn.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// The chat template the weights were tuned with.
    #[serde(default)]
    pub template: Option<Template>,
    /// The version of the prompts' wording they were tuned with.
    #[serde(default)]
    pub prompts: Option<u32>,
}

impl ModelSettings {
    /// Reads `bmn.json` in `folder`; no file, no settings.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("bmn.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::format("bmn.json", e.to_string())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    /// These settings, and those of `other` where these say nothing.
    fn or(self, other: Self) -> Self {
        Self { template: self.template.or(other.template), prompts: self.prompts.or(other.prompts) }
    }

    fn check(&self, prompts: &Prompts) -> Result<()> {
        match self.prompts {
            Some(version) if version != prompts.version() => Err(Error::unsupported(format!(
                "weights tuned with version {version} of the prompts, this engine has version {}",
                prompts.version()
            ))),
            _ => Ok(()),
        }
    }
}

/// The folder that a model lies in.
fn folder(model: &Path) -> &Path {
    if model.is_dir() { model } else { model.parent().unwrap_or(model) }
}

/// An adapter that requests can choose. Requests hold it while they run; the last holder unloads it.
pub(crate) struct LoadedAdapter {
    model: Arc<dyn LanguageModel>,
    pub id: AdapterId,
    pub identity: String,
    pub settings: ModelSettings,
}

impl Drop for LoadedAdapter {
    fn drop(&mut self) {
        self.model.unload_adapter(self.id);
    }
}

/// Adapters by the names that requests choose them by.
#[derive(Default)]
struct Adapters {
    /// Counts the changes: the generation of the name that was set last.
    epoch: u64,
    loaded: BTreeMap<String, Arc<LoadedAdapter>>,
}

/// The parts of an engine, for a model that is already there.
pub struct EngineParts {
    /// The model.
    pub model: Arc<dyn LanguageModel>,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Identity of its weights.
    pub weights: String,
    /// Its own chat template.
    pub template: Option<ChatTemplate>,
    /// Settings that came with it.
    pub settings: ModelSettings,
}

/// A model ready to answer: immutable, shared by any number of sessions and threads.
pub struct Engine {
    pub(crate) model: Arc<dyn LanguageModel>,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) prompts: Prompts,
    pub(crate) spans: Arc<SpanCache>,
    pub(crate) context: usize,
    weights: String,
    /// Where it came from: adapters remember the model they were made for.
    base: Option<Checkpoint>,
    zephyr: Frame,
    own: Option<Frame>,
    settings: ModelSettings,
    template: Option<Template>,
    adapters: RwLock<Adapters>,
}

/// What the run options choose: template, adapter, provenance.
pub(crate) struct Setting<'e> {
    pub frame: &'e Frame,
    pub adapter: Option<AdapterId>,
    /// Keeps the adapter loaded while the request runs, whatever its name is given to meanwhile.
    _held: Option<Arc<LoadedAdapter>>,
    pub provenance: Provenance,
}

impl Engine {
    /// Loads a model with its adapters onto the chosen device.
    ///
    /// # Errors
    /// What the checkpoint, the tokenizer, the template or an adapter lacks, by name; [`Error::Unsupported`] for weights tuned
    /// with another version of the prompts and for a device that cannot be used; [`Error::Invalid`] for a context longer than
    /// the model's; [`Error::OutOfMemory`] with figures where the model does not fit onto the device.
    pub fn open(options: &EngineOptions) -> Result<Self> {
        Self::open_with(options, &mut |_| {})
    }

    /// As [`Engine::open`], telling the plan of the device's memory and how far the weights are.
    pub fn open_with(options: &EngineOptions, tell: &mut dyn FnMut(Opening<'_>)) -> Result<Self> {
        reserve::check()?;
        let checkpoint = Checkpoint::open(&options.model)?;
        reserve::check()?;
        let tokenizer = Arc::new(Tokenizer::open(&options.model)?);
        reserve::check()?;
        let mut settings = ModelSettings::open(folder(&options.model))?;
        let mut weights = checkpoint.id()?;
        let merged = options.merge.as_deref().map(|path| checkpoint.adapter(path)).transpose()?;
        if let (Some(adapter), Some(path)) = (&merged, &options.merge) {
            weights = format!("{weights}+{}", adapter.id());
            settings = ModelSettings::open(path)?.or(settings);
        }
        let placement = Placement {
            device: options.device,
            threads: options.threads,
            context: options.context,
            weights: options.weights,
            wipe: options.wipe,
        };
        let parts = merged.as_ref().map_or(&[][..], |adapter| adapter.parts());
        let model = model::open(&checkpoint, &placement, parts, tell)?;
        let template = ChatTemplate::of_model(&options.model)?;
        let mut engine = Self::from_parts(EngineParts { model, tokenizer, weights, template, settings })?;
        engine.template = options.template;
        if let Some(context) = options.context {
            if context == 0 || context > engine.context {
                let most = engine.context;
                return Err(Error::invalid(format!("context: expected 1 to {most} tokens, found {context}")));
            }
            engine.context = context;
        }
        for (name, path) in &options.adapters {
            let adapter = checkpoint.adapter(path)?;
            engine.set_adapter(name, &adapter, ModelSettings::open(path)?)?;
        }
        engine.base = Some(checkpoint);
        Ok(engine)
    }

    /// Makes an adapter the one that requests choose by `name`, and returns its generation, higher than any before it.
    ///
    /// Where the name was taken, requests that run keep the adapter they started with, and later ones get this one; every
    /// answer's provenance names the adapter that gave it.
    ///
    /// # Errors
    /// [`Error::OtherBase`] for one made for another model, [`Error::Unsupported`] for one tuned with another version of the
    /// prompts, and what the device lacks; the name then stands for what it stood for.
    pub fn set_adapter(&self, name: &str, adapter: &PeftAdapter, settings: ModelSettings) -> Result<u64> {
        settings.check(&self.prompts)?;
        if let Some(base) = self.base.as_ref().filter(|_| adapter.base().is_some()) {
            adapter.check_base(base.base_id()?)?;
        }
        let id = self.model.load_adapter(adapter.parts())?;
        let model = Arc::clone(&self.model);
        let loaded = Arc::new(LoadedAdapter { model, id, identity: adapter.id().to_owned(), settings });
        let mut adapters = self.adapters.write().unwrap_or_else(PoisonError::into_inner);
        adapters.epoch += 1;
        let replaced = adapters.loaded.insert(name.to_owned(), loaded);
        let generation = adapters.epoch;
        drop(adapters); // before the replaced one, whose unloading takes a lock of the model
        drop(replaced);
        Ok(generation)
    }

    /// Takes a name away; requests that run with its adapter finish. Returns whether there was one.
    pub fn remove_adapter(&self, name: &str) -> bool {
        let mut adapters = self.adapters.write().unwrap_or_else(PoisonError::into_inner);
        let removed = adapters.loaded.remove(name);
        adapters.epoch += u64::from(removed.is_some());
        drop(adapters);
        removed.is_some()
    }

    /// The count of changes so far, and the adapters that have a name.
    pub(crate) fn adapter_ids(&self) -> (u64, Vec<AdapterId>) {
        let adapters = self.adapters.read().unwrap_or_else(PoisonError::into_inner);
        (adapters.epoch, adapters.loaded.values().map(|adapter| adapter.id).collect())
    }

    /// An engine of given parts, without adapters.
    pub fn from_parts(parts: EngineParts) -> Result<Self> {
        let prompts = Prompts::built_in()?;
        parts.settings.check(&prompts)?;
        let (tokens, rows) = (parts.tokenizer.vocab_size(), parts.model.config().vocab_size);
        if tokens > rows {
            return Err(Error::invalid(format!(
                "tokenizer: expected at most {rows} tokens, as the model has, found {tokens}"
            )));
        }
        let zephyr = Frame::new(ChatTemplate::zephyr(), &parts.tokenizer)?;
        let own = parts.template.map(|template| Frame::new(template, &parts.tokenizer)).transpose()?;
        Ok(Self {
            context: parts.model.config().max_positions,
            spans: SpanCache::new(parts.tokenizer.clone()),
            model: parts.model,
            tokenizer: parts.tokenizer,
            prompts,
            weights: parts.weights,
            base: None,
            zephyr,
            own,
            settings: parts.settings,
            template: None,
            adapters: RwLock::default(),
        })
    }

    /// A session: one thread's work on this engine.
    pub fn session(self: &Arc<Self>) -> Result<Session> {
        Session::new(Arc::clone(self))
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The model.
    pub fn model(&self) -> &Arc<dyn LanguageModel> {
        &self.model
    }

    /// The wording of the tasks.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// Names of the adapters that a request can choose.
    pub fn adapters(&self) -> Vec<String> {
        self.adapters.read().unwrap_or_else(PoisonError::into_inner).loaded.keys().cloned().collect()
    }

    /// Longest context in tokens.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Identity of the weights.
    pub fn weights_id(&self) -> &str {
        &self.weights
    }

    pub(crate) fn setting(&self, run: &RunOptions<'_>, request: &impl Serialize) -> Result<Setting<'_>> {
        let adapter = match &run.adapter {
            None => None,
            Some(name) => {
                let adapters = self.adapters.read().unwrap_or_else(PoisonError::into_inner);
                let known = || adapters.loaded.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                Some(Arc::clone(adapters.loaded.get(name).ok_or_else(|| {
                    Error::invalid(format!("adapter: expected one of those loaded ({}), found {name:?}", known()))
                })?))
            }
        };
        let template = run
            .template
            .or(self.template)
            .or(adapter.as_ref().and_then(|adapter| adapter.settings.template))
            .or(self.settings.template)
            .unwrap_or(Template::Zephyr);
        let (frame, name) = match (template, &self.own) {
            (Template::Zephyr, _) => (&self.zephyr, "zephyr"),
            (Template::Model, Some(own)) => (own, "model"),
            (Template::Model, None) => {
                return Err(Error::invalid("template: the model brings no chat template of its own"));
            }
        };
        let json = |e| Error::internal(format!("request as JSON: {e}"));
        let schema = serde_json::to_vec(request).map_err(json)?;
        let shots = match run.shots.as_slice() {
            [] => String::new(),
            shots => serde_json::to_string(shots).map_err(json)?,
        };
        let provenance = Provenance {
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            fingerprint: self.model.fingerprint(),
            weights: self.weights.clone(),
            adapter: adapter.as_ref().map(|adapter| adapter.identity.clone()),
            tokenizer: self.tokenizer.hash().to_owned(),
            template: name.to_owned(),
            prompts: sha256_hex(format!("{}{}{shots}", self.prompts.hash(), frame.hash()).as_bytes()),
            schema: sha256_hex(&schema),
        };
        let id = adapter.as_ref().map(|adapter| adapter.id);
        Ok(Setting { frame, adapter: id, _held: adapter, provenance })
    }
}
