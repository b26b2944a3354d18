#include <chrono>
#include <optional>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/checks.h"
#include "attune/cli/common.h"
#include "attune/cli/verbs.h"
#include "attune/evaluation/evaluate.h"
#include "attune/images/decode.h"
#include "attune/images/encode.h"
#include "attune/images/sheet.h"
#include "attune/tasks/generation.h"
#include "attune/tensors/device.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kMostOnSheet = 64, kSheetColumns = 8;

struct GenerateOptions {
  Common common;
  std::string model, adapter, prompt, negative, scheduler, out;
  std::optional<double> scale;
  std::int64_t steps = 50, count = 4, size = 0;
  CLI::Option *prompt_given = nullptr, *negative_given = nullptr;
};

/// A folder with pictures and what they were asked with; "settings.json" says both.
class PictureFolder {
 public:
  /// Throws UsageError where the folder holds something else than pictures of the same settings.
  PictureFolder(fs::path folder, Json settings) : folder_(std::move(folder)), settings_(std::move(settings)) {
    const fs::path file = folder_ / "settings.json";
    if (fs::exists(file)) {
      if (read_json(file) == settings_) return;
      throw UsageError(fmt::format("--out: {} holds pictures of other settings; choose another folder", file.string()));
    }
    if (fs::exists(folder_) && !fs::is_empty(folder_)) {
      throw UsageError(fmt::format("--out: expected a new or an empty folder, found {}", folder_.string()));
    }
    write_json(file, settings_);
  }

  fs::path file(std::int64_t picture) const { return folder_ / fmt::format("{:04}.png", picture); }
  /// Whether all pictures of a range are there, from a run that was stopped.
  bool has(std::int64_t first, std::int64_t count) const {
    for (std::int64_t i = first; i < first + count; ++i) {
      if (!fs::exists(file(i))) return false;
    }
    return true;
  }
  void write(std::int64_t picture, const Image& image) const {
    Json own = settings_;
    own.erase("count");
    own["picture"] = picture;
    write_file(file(picture),
               with_png_texts(encode_png(image), {{"Software", "Attune " + version()}, {"attune", own.dump()}}));
  }
  /// The first pictures on one sheet.
  fs::path write_sheet(std::int64_t count) const {
    std::vector<Image> pictures;
    for (std::int64_t i = 0; i < std::min<std::int64_t>(count, kMostOnSheet); ++i) {
      pictures.push_back(read_image(file(i)));
    }
    write_file(folder_ / "sheet.png", encode_png(picture_sheet(pictures, kSheetColumns)));
    return folder_ / "sheet.png";
  }

 private:
  fs::path folder_;
  Json settings_;
};

/// Side of the maps for pictures of so many pixels.
std::int64_t map_side(const DiffusionDescription& model, std::int64_t size) {
  const std::int64_t factor = model.vae ? model.vae->factor() : 1;
  if (size % factor != 0) {
    throw UsageError(fmt::format("--size: expected a number that {} divides, found {}", factor, size));
  }
  return size / factor;
}

double million_weights(const DiffusionDescription& model) {
  double count = 0;
  const auto add = [&](const auto& shapes) {
    for (const auto& [name, shape] : shapes) {
      double product = 1;
      for (const auto side : shape) product *= static_cast<double>(side);
      count += product;
    }
  };
  add(unet_shapes(model.unet));
  if (model.vae) add(vae_shapes(*model.vae));
  return count / 1e6;
}

/// How often the network is asked for a picture; some schedulers ask more often than once a step.
std::int64_t asked(const GenerateSettings& settings) {
  return std::ssize(make_sampler(settings.sampler, settings.steps)->times());
}

/// Says what the work will cost, by one step of the network on as many pictures as are made at once.
void say_cost(const Common& common, const Generation& made, const GenerateSettings& settings, std::int64_t count) {
  const std::int64_t at_once = std::min(count, pictures_at_once(settings.side));
  const auto seconds_of_call = [&] {
    const at::NoGradGuard without_gradients;
    const auto begin = Clock::now();
    made.model.network().predict(at::zeros({at_once, made.model.unet.in_channels, settings.side, settings.side}),
                                 at::zeros({1}, at::kLong), made.steering.hidden);
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  double seconds = seconds_of_call();
  // The first call also reads the weights and packs them.
  constexpr double kCheap = 2.0;
  if (seconds < kCheap) seconds = seconds_of_call();
  const std::int64_t rounds = (count + at_once - 1) / at_once;
  const auto calls = static_cast<double>(asked(settings) * (made.steering.scale == 1.0 ? 1 : 2) * rounds);
  say(common, fmt::format("about {:.0f} s and {:.0f} MB: {:.0f} calls of the network on {} pictures, {:.3g} s each",
                          calls * seconds, peak_memory_mb(), calls, at_once, seconds));
}

void make_pictures(const GenerateOptions& options, const Generation& made, const GenerateSettings& settings,
                   const PictureFolder& folder) {
  const auto progress = make_progress(options.common, "generating");
  const std::int64_t at_once = pictures_at_once(settings.side), times = asked(settings), all = options.count * times;
  std::int64_t done = 0;
  bool priced = false;
  for (std::int64_t first = 0; first < options.count; first += at_once) {
    const std::int64_t count = std::min(at_once, options.count - first);
    if (folder.has(first, count)) continue;
    if (!priced) say_cost(options.common, made, settings, options.count - first);
    priced = true;
    done = first * times;
    const Tensor maps = generate_maps(made.model.network(), made.steering, settings, first, count, [&] {
      done = std::min(all, done + count);
      if (progress) progress->update(done, all, "");
      return !stop_requested();
    });
    if (stop_requested()) throw Stopped{"the same command goes on with the pictures that are missing"};
    const Tensor pixels = made.model.pixels_of_maps(maps);
    if (!pixels.isfinite().all().item<bool>()) {
      throw Error(fmt::format("{}: the network said numbers that are not finite", made.model.folder.string()));
    }
    for (std::int64_t i = 0; i < count; ++i) folder.write(first + i, colours_of(pixels[i]));
  }
  if (progress) progress->finish();
}

Request request_of(const GenerateOptions& options, const DiffusionDescription& model) {
  Request request;
  if (!options.adapter.empty()) request.adapter = options.adapter;
  if (options.prompt_given->count() > 0) request.prompt = options.prompt;
  if (options.negative_given->count() > 0) request.negative = options.negative;
  request.scale = options.scale.value_or(model.usual_guidance());
  return request;
}

void run_generate(const GenerateOptions& options) {
  const Common& common = options.common;
  prepare(common);
  if (!choose_device(common.device).is_cpu() || common.precision != "fp32") {
    throw UsageError("generate: expected --device cpu and --precision fp32, which is all that diffusion models run on");
  }
  const DiffusionDescription model = describe_diffusion_folder(resolve_diffusion_folder(options.model));
  GenerateSettings settings;
  settings.sampler =
      model.sampler(options.scheduler.empty() ? std::nullopt : std::optional(sampler_named(options.scheduler)));
  settings.steps = options.steps;
  settings.seed = common.seed;
  const std::int64_t size = options.size == 0 ? model.picture_size() : options.size;
  settings.side = map_side(model, size);
  make_sampler(settings.sampler, settings.steps);  // refuses before anything is loaded
  say(common,
      fmt::format("{}: {:.3g} million weights, pictures of {} x {}", model.name, million_weights(model), size, size));

  const Generation made = prepare_generation(model.folder, request_of(options, model), cache_folder() / "models");
  Json said = made.settings;
  said.update(Json{{"scheduler", name_of(settings.sampler.kind)},
                   {"prediction", name_of(settings.sampler.noise.prediction)},
                   {"steps", settings.steps},
                   {"size", size},
                   {"seed", common.seed},
                   {"count", options.count},
                   {"version", version()}});
  const PictureFolder folder(options.out, said);
  make_pictures(options, made, settings, folder);
  const fs::path sheet = folder.write_sheet(options.count);
  for (std::int64_t i = 0; common.json && i < options.count; ++i) {
    print_json({{"path", folder.file(i).string()}, {"picture", i}, {"seed", common.seed}});
  }
  say(common, fmt::format("{} pictures in {}, all on {}", options.count, options.out, sheet.string()));
}

}  // namespace

void add_generate(CLI::App& app) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* verb =
      app.add_subcommand("generate", "Makes pictures of a learned concept or of a text; goes on where it was stopped");
  verb->add_option("--model", options->model, "diffusion model: a folder in diffusers' layout, or one that ships")
      ->required();
  verb->add_option("--adapter", options->adapter, "folder of a learned concept, from attune train --task generation");
  options->prompt_given = verb->add_option("--prompt", options->prompt, "text; {} is the place of a learned word");
  options->negative_given =
      verb->add_option("--negative", options->negative, "text that is guided away from, in place of the empty one");
  verb->add_option("--prompt-scale", options->scale,
                   "how far is guided; 1: not at all, in half the time; without it 7.5, or 1 for a model of pixels")
      ->check(within(0.0, 100.0));
  verb->add_option("--steps", options->steps, "steps from noise to picture")->check(at_least(1))->capture_default_str();
  verb->add_option("--scheduler", options->scheduler, "ddim, ddpm or pndm; without it the folder's own");
  verb->add_option("--count", options->count, "pictures")->check(within(1, 9999))->capture_default_str();
  verb->add_option("--size", options->size, "side of the pictures in pixels; without it the model's own")
      ->check(within(8, 4096));
  verb->add_option("--out", options->out, "folder for the pictures, their settings and sheet.png")->required();
  add_common(*verb, options->common);
  verb->callback([options] { run_generate(*options); });
}

}  // namespace attune
