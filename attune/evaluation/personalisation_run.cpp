#include "attune/evaluation/personalisation_run.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/evaluation/memory.h"
#include "attune/images/decode.h"
#include "attune/images/preprocess.h"
#include "attune/methods/adapter.h"
#include "attune/tasks/concept_search.h"
#include "attune/tasks/dreambooth.h"
#include "attune/tasks/textual_inversion.h"
#include "attune/text/template_list.h"
#include "attune/text/templates.h"
#include "attune/training/captioned_pictures.h"
#include "attune/training/search_run.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> templates_of(const Config& config) {
  return split_templates(config.text("templates"), "templates");
}

std::string hash_of_pictures(const std::vector<fs::path>& pictures) {
  std::string all;
  for (const fs::path& path : pictures) all += sha256(read_file(path));
  return sha256(all);
}

/// The rows that a name has in the first template, [n, w].
Tensor rows_of_name(const Personalisation& search, const std::string& name) {
  if (name.empty()) throw UsageError("concept: expected the name of what the pictures show, found none");
  return encoded_texts(search.model, {fill(templates_of(search.config).front(), name)})[0];
}

/// Where ConES begins, [n, w].
Tensor start_of(const Personalisation& search, const DiffusionDescription& model) {
  const Config& config = search.config;
  const std::string start = config.text("cones.start");
  const std::int64_t rows = config.integer("cones.rows", 0, 4096);
  if (start == "random") {
    const std::int64_t longest = model.text ? model.text->context_length : 77;
    KeyedRandom random(search.seed, "cones");
    return normal({rows == 0 ? longest : rows, model.unet.hidden_width}, 0, 1, random);
  }
  if (start != "text" && start != "concept") {
    throw UsageError(fmt::format("cones.start: expected text, concept or random, found \"{}\"", start));
  }
  const Tensor said = rows_of_name(search, config.text(start == "text" ? "concept" : "cones.concept"));
  return rows == 0 ? said : said.narrow(0, 0, std::min(rows, said.size(0))).clone();
}

/// What a concept's adapter says of it to DreamBooth, [n, w].
Tensor rows_of_adapter(const Personalisation& search, const std::string& weight_hash) {
  const fs::path folder = search.config.text("dreambooth.from");
  if (folder.empty()) throw UsageError("dreambooth.from: expected the adapter of a cones run, found none");
  const AdapterInfo info = read_adapter_info(folder);
  if (info.method != "cones" || info.weight_hash != weight_hash) {
    throw Error(fmt::format("adapter {}: expected one of cones for weights {}, found {} for weights {}",
                            folder.string(), weight_hash, info.method, info.weight_hash));
  }
  const TensorMap tensors = read_adapter_tensors(folder);
  const auto found = tensors.find("embeddings");
  if (found == tensors.end() || found->second.dim() != 2) {
    throw Error(fmt::format("adapter {}: expected a tensor 'embeddings' [n, w], found none", folder.string()));
  }
  return found->second.to(at::kFloat);
}

/// A search under way, with everything that its learner points to.
struct Search {
  std::shared_ptr<DiffusionModel> model;
  std::unique_ptr<DenoisingTask> task, prior;
  std::unique_ptr<Learner> learner;
  std::function<Tensor()> rows;  // that stand for the concept now
};

ConceptMaps concept_maps(const DiffusionModel& model, const std::vector<fs::path>& pictures, bool mirror) {
  const Tensor pixels = concept_pixels(pictures, model.picture_size());
  return {model.maps_of_pixels(pixels), mirror ? model.maps_of_pixels(pixels.flip({3})) : Tensor()};
}

void make_cones(Search& made, const Personalisation& search) {
  auto learner =
      std::make_unique<ConceptSearch>(start_of(search, *made.model), OptimSettings(search.config), made.task.get());
  made.rows = [own = learner.get()] { return own->embeddings().clone(); };
  made.learner = std::move(learner);
}

void make_inversion(Search& made, const Personalisation& search) {
  const Config& config = search.config;
  const auto encoder = std::make_shared<const TextEncoder>(TextEncoder::load(search.model));
  const std::int64_t vectors = config.integer("inversion.vectors", 1, 64);
  const std::string word =
      config.text("inversion.word").empty() ? config.text("concept") : config.text("inversion.word");
  auto learner = std::make_unique<TextualInversion>(token_rows(*encoder, word, vectors), OptimSettings(config), encoder,
                                                    templates_of(config), made.task.get(), search.seed);
  made.rows = [own = learner.get()] { return own->rows(); };
  made.learner = std::move(learner);
}

void make_dreambooth(Search& made, const Personalisation& search, const std::vector<fs::path>& kind) {
  const Config& config = search.config;
  const std::string embeddings = config.text("dreambooth.embeddings");
  if (embeddings != "kept" && embeddings != "trained") {
    throw UsageError(fmt::format("dreambooth.embeddings: expected kept or trained, found \"{}\"", embeddings));
  }
  PriorPreservation prior;
  if (!kind.empty()) {
    made.prior = std::make_unique<DenoisingTask>(made.model, concept_maps(*made.model, kind, config.flag("flip")), 1,
                                                 search.seed + 1);
    prior = {made.prior.get(), rows_of_name(search, config.text("dreambooth.kind")),
             config.number("dreambooth.prior_weight")};
  }
  auto learner = std::make_unique<DreamBooth>(rows_of_adapter(search, made.model->weight_hash()),
                                              embeddings == "trained", made.model->trainable_unet,
                                              OptimSettings(config), made.task.get(), std::move(prior));
  made.rows = [own = learner.get()] { return own->embeddings().clone(); };
  made.learner = std::move(learner);
}

std::vector<fs::path> kind_pictures(const Config& config) {
  std::vector<fs::path> pictures;
  const std::string folder = config.has("dreambooth.kind_pictures") ? config.text("dreambooth.kind_pictures") : "";
  if (folder.empty()) return pictures;
  if (!fs::is_directory(folder)) {
    throw UsageError(fmt::format("dreambooth.kind_pictures: expected a folder of pictures, found {}", folder));
  }
  for (const auto& entry : fs::directory_iterator(folder)) pictures.push_back(entry.path());
  std::sort(pictures.begin(), pictures.end());
  return pictures;
}

Search make_search(const Personalisation& search) {
  const Config& config = search.config;
  const std::string method = config.text("method");
  DiffusionOptions options;
  options.train_unet = method == "dreambooth";
  options.hashes = search.hashes;
  Search made;
  made.model = std::make_shared<DiffusionModel>(load_diffusion_model(search.model, options));
  const auto kind = kind_pictures(config);
  made.task =
      std::make_unique<DenoisingTask>(made.model, concept_maps(*made.model, search.pictures, config.flag("flip")),
                                      config.integer("repeats"), search.seed);
  if (method == "cones") make_cones(made, search);
  if (method == "textual_inversion") make_inversion(made, search);
  if (method == "dreambooth") make_dreambooth(made, search, kind);
  // The pictures are maps now.
  made.model->autoencoder.reset();
  return_freed_memory();  // of the autoencoder and of a text encoder that was asked once
  return made;
}

/// The task stands in an adapter's configuration, so that a classifier is not made of it.
Json recorded_config(const Config& config) {
  Json recorded = config.to_json();
  recorded["task"] = "generation";
  return recorded;
}

}  // namespace

Schema personalisation_schema(const std::string& method) {
  if (method != "cones" && method != "textual_inversion" && method != "dreambooth") {
    throw UsageError(
        fmt::format("method: expected cones, textual_inversion or dreambooth for generation, found {}", method));
  }
  Schema schema = {
      {"method", method, "the method: cones, textual_inversion or dreambooth"},
      {"concept", "", "the name of what the pictures show"},
      {"templates", "a photo of a {}", "sentences in which a name or the learned word stands, with | between them"},
      {"flip", true, "half of the samples are mirrored"},
      {"repeats", 100, "samples of each picture in an epoch"},
      {"measure.pictures", "", "picture or folder that shows the concept and is only measured; empty: what is learned"},
      {"measure.pairs", 64, "fixed pairs of time and noise by which quality is measured"},
  };
  std::map<std::string, Json> defaults = {{"optim.name", "adamw"},  {"optim.weight_decay", 0.0},
                                          {"optim.warmup", "none"}, {"optim.schedule", "constant"},
                                          {"optim.lr", 0.005},      {"epochs", 10},
                                          {"batch_size", 4}};
  if (method == "cones") {
    schema.push_back({"cones.start", "text", "where the search begins: text (the name), concept (another) or random"});
    schema.push_back({"cones.concept", "", "the name that it begins with, for cones.start=concept"});
    schema.push_back({"cones.rows", 0, "rows that are searched; 0: as many as the text encoder says"});
  } else if (method == "textual_inversion") {
    schema.push_back({"inversion.word", "", "the word whose embedding it begins with; empty: the concept's name"});
    schema.push_back({"inversion.vectors", 1, "embeddings that are learned"});
  } else {
    schema.push_back({"dreambooth.from", "", "adapter of a cones run, whose rows stand for the concept"});
    schema.push_back({"dreambooth.embeddings", "kept", "kept or trained"});
    schema.push_back({"dreambooth.kind", "", "the name of the concept's kind, for prior preservation"});
    schema.push_back({"dreambooth.kind_pictures", "", "folder with pictures of the kind; empty: nothing is preserved"});
    schema.push_back({"dreambooth.prior_weight", 1.0, "weight of the kind's loss"});
    defaults["optim.lr"] = 5e-6;
  }
  for (Key& key : OptimSettings::schema(defaults)) schema.push_back(std::move(key));
  return schema;
}

Tensor concept_pixels(const std::vector<fs::path>& pictures, std::int64_t size) {
  Preprocess preprocess;
  preprocess.size = static_cast<int>(size);
  std::vector<Tensor> pixels;
  for (const fs::path& path : pictures) pixels.push_back(picture_maps(centre_view(read_image(path), preprocess)));
  return at::stack(pixels);
}

Tensor encoded_texts(const fs::path& model, const std::vector<std::string>& texts) {
  return TextEncoder::load(model).encode(texts);
}

namespace {

constexpr double kBytes = 4.0;  // of a number that is held

double million_weights(const TextConfig& text) {
  const auto width = static_cast<double>(text.width), hidden = static_cast<double>(text.hidden);
  const double block = 4 * width * (width + 1) + 2 * width * hidden + hidden + width + 4 * width;
  return (static_cast<double>(text.vocabulary + text.context_length + 2) * width +
          static_cast<double>(text.layers) * block) /
         1e6;
}

/// How long the text encoder is held.
std::string use_of_text_encoder(const Config& config) {
  const std::string method = config.text("method");
  if (method == "textual_inversion") return "held and asked in every step";
  const bool asked =
      method == "cones" ? config.text("cones.start") != "random" : !config.text("dreambooth.kind_pictures").empty();
  return asked ? "asked once, let go before the search" : "never loaded";
}

}  // namespace

std::string describe_personalisation_needs(const Personalisation& search) {
  const DiffusionDescription model = describe_diffusion_folder(search.model);
  const OptimSettings optim(search.config);
  double weights = 0;
  for (const auto& [name, shape] : unet_shapes(model.unet)) {
    double count = 1;
    for (const std::int64_t side : shape) count *= static_cast<double>(side);
    weights += count;
  }
  const auto samples = static_cast<double>(std::ssize(search.pictures) * search.config.integer("repeats"));
  const double batch = std::min(static_cast<double>(optim.batch_size), samples);
  const double steps = optim.schedule.epochs * std::max(1.0, std::floor(samples / batch));
  // A network that trains has gradients and two momenta besides.
  const double copies = search.config.text("method") == "dreambooth" ? 4.0 : 1.0;
  std::string needs =
      fmt::format("{:.0f} steps of {:.0f} samples\nnetwork:      {:.1f} million weights, {:.0f} MB held", steps, batch,
                  weights / 1e6, kBytes * copies * weights / 1e6);
  if (model.text) {
    const double text = million_weights(*model.text);
    needs += fmt::format("\ntext encoder: {:.1f} million weights, {:.0f} MB, {}", text, kBytes * text,
                         use_of_text_encoder(search.config));
  }
  return needs;
}

FoundConcept personalise(const Personalisation& search) {
  if (search.pictures.empty()) throw UsageError("generation: expected pictures of the concept, found none");
  Search made = make_search(search);
  const Tensor before = made.rows();
  TrainRun run;
  run.folder = search.folder;
  run.resume = search.resume;
  run.seed = search.seed;
  const std::string pictures = hash_of_pictures(search.pictures);
  run.fingerprint =
      sha256(search.config.to_yaml() + pictures + made.model->weight_hash() + std::to_string(search.seed));
  run.progress = search.progress;
  write_file(search.folder / "config.yaml", search.config.to_yaml());
  const Stages stages = made.learner->stages({made.task->samples(), search.seed});
  if (run_search(*made.learner, stages, made.task->samples(), run) == TrainOutcome::kStopped) {
    throw Stopped{fmt::format("continue with the same command and --resume (folder {})", search.folder.string())};
  }
  const double memory = resident_mb();
  const ClassNames names{{search.config.text("concept")}, templates_of(search.config).front()};
  save_adapter(search.folder / "adapter",
               {search.config.text("method"), recorded_config(search.config), made.model->name,
                made.model->weight_hash(), names, search.dataset, pictures, search.seed, nullptr, search.version},
               *made.learner);
  return {made.model, before, made.rows(), memory};
}

}  // namespace attune
