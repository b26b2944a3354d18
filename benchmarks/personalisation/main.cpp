// Quality over time of ConES and of textual inversion on one diffusion model, for concepts of Emoji-DG that no
// pre-training has drawn. Quality is the denoising loss of 64 fixed pairs of time and noise on a vendor's drawing of
// the concept that is never learned from. Both searches run in turns on one thread, each with a clock of its own that
// counts processor time and stands still while quality is measured. One JSON object a line: a curve for each search.
// With --sheets a sheet for each concept: what is learned from; then, from the same noise, what the model draws before;
// then what it draws after the same processor time of both, early and at the end.
#include <algorithm>
#include <ctime>
#include <map>
#include <optional>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/data/emoji_dg.h"
#include "attune/diffusion/generate.h"
#include "attune/evaluation/personalisation_run.h"
#include "attune/images/encode.h"
#include "attune/images/sheet.h"
#include "attune/tasks/concept_search.h"
#include "attune/tasks/textual_inversion.h"
#include "attune/tensors/device.h"
#include "attune/text/template_list.h"
#include "attune/text/templates.h"
#include "attune/training/run_settings.h"

namespace attune {
namespace {

constexpr double kTurn = 0.2;         // seconds of one search before it is the other's turn
constexpr double kFirstPoint = 0.05;  // seconds

constexpr int kDrawn = 4;  // pictures of a row of a sheet
constexpr double kEarly = 0.1;
constexpr std::int64_t kDrawnSteps = 25;
constexpr std::uint64_t kDrawnSeed = 2'000;

struct Options {
  std::string model = "models/sketch", templates = "{}|a {}|a drawing of a {}", concepts,
              measured = "fluent-emoji-flat";
  std::string learned = "noto,twemoji,emojione,openmoji", sheets;
  double seconds = 15, growth = 1.25, cones_rate = 0.02, inversion_rate = 0.01;
  std::int64_t batch = 8, pairs = 64, skip = 0, count = 3, first_seed = 1, seeds = 3;
};

double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Hands out the same samples in every step.
class Same final : public BatchSource {
 public:
  explicit Same(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) samples_.push_back(i);
  }
  Batch next() override {
    Batch batch;
    batch.samples = samples_;
    return batch;
  }

 private:
  std::vector<std::int64_t> samples_;
};

OptimSettings optim(double rate, std::int64_t batch) {
  Config config(OptimSettings::schema({{"optim.name", "adamw"},
                                       {"optim.weight_decay", 0.0},
                                       {"optim.warmup", "none"},
                                       {"optim.schedule", "constant"},
                                       {"optim.lr", rate},
                                       {"batch_size", batch}}));
  return OptimSettings(config);
}

/// One search with its clock and its curve.
class Runner {
 public:
  Runner(std::string method, Learner& learner, std::function<Tensor()> rows, const DenoisingProbe& probe,
         const Options& options, std::int64_t samples)
      : method_(std::move(method)),
        rows_(std::move(rows)),
        probe_(probe),
        stages_(learner.stages({samples, 1})),
        samples_(options.batch),
        growth_(options.growth) {
    stages_.front()->begin_epoch(0);
    measure();
  }

  double seconds() const { return seconds_; }
  Tensor rows() const { return rows_(); }
  const std::string& method() const { return method_; }
  void turn(double until) {
    while (seconds_ < until) {
      const double begin = processor_seconds();
      stages_.front()->step(samples_);
      seconds_ += processor_seconds() - begin;
      ++steps_;
      if (seconds_ < next_) continue;
      measure();
      next_ = std::max(next_, seconds_) * growth_;
    }
  }
  void measure() { points_.push_back({{"step", steps_}, {"seconds", seconds_}, {"loss", probe_.loss(rows_())}}); }
  const Json& points() const { return points_; }

 private:
  std::string method_;
  std::function<Tensor()> rows_;
  const DenoisingProbe& probe_;
  Stages stages_;
  Same samples_;
  double growth_;
  double seconds_ = 0, next_ = kFirstPoint;
  std::int64_t steps_ = 0;
  Json points_ = Json::array();
};

/// The drawings of a concept by set, such as "noto".
std::map<std::string, std::filesystem::path> drawings_of(const Dataset& data, const std::string& name) {
  std::map<std::string, std::filesystem::path> drawings;
  for (const Sample& sample : data.test) {
    if (sample.concept_name != name || !sample.held_out) continue;
    const auto path = data.path_of(sample);
    drawings[path.parent_path().parent_path().filename().string()] = path;
  }
  return drawings;
}

std::vector<std::string> concepts_of(const Options& options, const Dataset& data) {
  if (!options.concepts.empty()) return split_list(options.concepts);
  std::vector<std::string> names;
  for (const Sample& sample : data.test) {
    if (std::find(names.begin(), names.end(), sample.concept_name) == names.end()) names.push_back(sample.concept_name);
  }
  const auto order = random_order(std::ssize(names), 1, "benchmark.concepts");
  std::vector<std::string> chosen;
  for (std::int64_t i = options.skip; i < std::min(options.skip + options.count, std::ssize(order)); ++i) {
    chosen.push_back(names[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
  }
  return chosen;
}

/// What the searches of a concept look like.
class Sheet {
 public:
  Sheet(std::shared_ptr<const DiffusionModel> model, const Tensor& learned)
      : model_(std::move(model)), empty_(encoded_texts(model_->folder, {""})) {
    add(learned);
  }
  void draw(const Tensor& rows) {
    const GenerateSettings settings{model_->sampler(), kDrawnSteps, model_->unet.sample_size, kDrawnSeed};
    add(model_->pixels_of_maps(
        generate_maps(model_->network(), {rows.unsqueeze(0), empty_, model_->usual_guidance()}, settings, 0, kDrawn)));
  }
  void write(const std::filesystem::path& path) const {
    write_file(path, encode_png(picture_sheet(pictures_, kDrawn)));
  }

 private:
  /// A row of so many pictures, with white ones where there are fewer.
  void add(const Tensor& pixels) {
    const Tensor blank = at::ones({kDrawn, 3, pixels.size(2), pixels.size(3)});
    for (Image& one : all_colours_of(at::cat({pixels, blank}).narrow(0, 0, kDrawn)))
      pictures_.push_back(std::move(one));
  }

  std::shared_ptr<const DiffusionModel> model_;
  Tensor empty_;
  std::vector<Image> pictures_;
};

std::filesystem::path sheet_path(const Options& options, std::string name) {
  std::replace(name.begin(), name.end(), ' ', '-');
  return std::filesystem::path(options.sheets) / (name + ".png");
}

/// Processor time of the text encoder in a step of textual inversion that draws every template: forward and backward.
double text_encoder_seconds(const TextEncoder& encoder, const Tensor& token,
                            const std::vector<std::string>& templates) {
  constexpr int kTimes = 20;
  const Tensor leaf = token.clone().requires_grad_(true);
  const double begin = processor_seconds();
  for (int i = 0; i < kTimes; ++i) {
    std::vector<Tensor> rows;
    for (const std::string& one : templates) rows.push_back(encoder.encode_filled(one, leaf));
    at::cat(rows).sum().backward();
  }
  return (processor_seconds() - begin) / kTimes;
}

void compare(const Options& options, const std::shared_ptr<const DiffusionModel>& model, const std::string& name,
             const std::map<std::string, std::filesystem::path>& drawings, std::uint64_t seed) {
  std::vector<std::filesystem::path> learned;
  for (const std::string& set : split_list(options.learned)) learned.push_back(drawings.at(set));
  const Tensor pixels = concept_pixels(learned, model->picture_size());
  const Tensor apart = model->maps_of_pixels(concept_pixels({drawings.at(options.measured)}, model->picture_size()));
  const DenoisingProbe probe(model, apart, options.pairs, 1000);
  const auto templates = split_templates(options.templates, "--templates");
  const auto task = [&] {
    const ConceptMaps maps{model->maps_of_pixels(pixels), model->maps_of_pixels(pixels.flip({3}))};
    return DenoisingTask(model, maps, (options.batch + pixels.size(0) - 1) / pixels.size(0), seed);
  };
  DenoisingTask cones_task = task(), inversion_task = task();

  ConceptSearch cones(encoded_texts(model->folder, {fill(templates.front(), name)})[0],
                      optim(options.cones_rate, options.batch), &cones_task);
  const auto encoder = std::make_shared<const TextEncoder>(TextEncoder::load(model->folder));
  TextualInversion inversion(token_rows(*encoder, name, 1), optim(options.inversion_rate, options.batch), encoder,
                             templates, &inversion_task, seed);

  Runner runners[] = {
      {"cones", cones, [&] { return cones.embeddings(); }, probe, options, cones_task.samples()},
      {"textual_inversion", inversion, [&] { return inversion.rows(); }, probe, options, inversion_task.samples()}};
  // One sheet a concept, of its first seed.
  std::optional<Sheet> sheet;
  if (!options.sheets.empty() && seed == static_cast<std::uint64_t>(options.first_seed)) {
    sheet.emplace(model, pixels);
    sheet->draw(runners[0].rows());
  }
  bool early = false;
  for (double until = kTurn; until < options.seconds + kTurn; until += kTurn) {
    for (Runner& runner : runners) runner.turn(std::min(until, options.seconds));
    const bool last = until >= options.seconds;
    if (!sheet || !(last || (!early && until >= kEarly * options.seconds))) continue;
    early = true;
    for (const Runner& runner : runners) sheet->draw(runner.rows());
  }
  if (sheet) sheet->write(sheet_path(options, name));
  const double text_seconds = text_encoder_seconds(*encoder, inversion.token(), templates);
  for (Runner& runner : runners) {
    runner.measure();
    const double rate = runner.method() == "cones" ? options.cones_rate : options.inversion_rate;
    fmt::print("{}\n", Json{{"concept", name},
                            {"seed", seed},
                            {"method", runner.method()},
                            {"rate", rate},
                            {"batch", options.batch},
                            {"learned", learned.size()},
                            {"text_encoder_seconds", text_seconds},
                            {"points", runner.points()}}
                           .dump());
    std::fflush(stdout);
  }
}

void run(const Options& options) {
  set_threads(1);
  flush_denormals();
  keep_freed_memory();
  const Dataset data = open_emoji_dg(emoji_dg_folder(), EmojiTask::kConcepts);
  const auto model = std::make_shared<const DiffusionModel>(load_diffusion_model(options.model));
  for (const std::string& name : concepts_of(options, data)) {
    const auto drawings = drawings_of(data, name);
    if (drawings.empty()) throw UsageError(fmt::format("--concepts: expected held-out concepts, found {}", name));
    for (std::int64_t seed = options.first_seed; seed < options.first_seed + options.seeds; ++seed) {
      compare(options, model, name, drawings, static_cast<std::uint64_t>(seed));
    }
  }
}

}  // namespace
}  // namespace attune

int main(int count, char** arguments) {
  attune::Options options;
  CLI::App app("Quality over time of ConES and textual inversion");
  app.add_option("--model", options.model, "diffusion folder")->capture_default_str();
  app.add_option("--templates", options.templates, "sentences")->capture_default_str();
  app.add_option("--concepts", options.concepts, "names of held-out concepts; without them --count are drawn");
  app.add_option("--skip", options.skip, "concepts of that order that are left out")->capture_default_str();
  app.add_option("--count", options.count, "concepts")->capture_default_str();
  app.add_option("--first-seed", options.first_seed, "the first of them")->capture_default_str();
  app.add_option("--seeds", options.seeds, "seeds a concept")->capture_default_str();
  app.add_option("--learned", options.learned, "sets whose drawings are learned from")->capture_default_str();
  app.add_option("--sheets", options.sheets, "folder for a sheet of each concept; without it none is drawn");
  app.add_option("--measured", options.measured, "set whose drawing is measured")->capture_default_str();
  app.add_option("--seconds", options.seconds, "processor time of each search")->capture_default_str();
  app.add_option("--growth", options.growth, "factor from one measured time to the next")->capture_default_str();
  app.add_option("--batch", options.batch, "samples a step")->capture_default_str();
  app.add_option("--pairs", options.pairs, "pairs of time and noise")->capture_default_str();
  app.add_option("--cones-rate", options.cones_rate, "learning rate")->capture_default_str();
  app.add_option("--inversion-rate", options.inversion_rate, "learning rate")->capture_default_str();
  CLI11_PARSE(app, count, arguments);
  try {
    attune::run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
