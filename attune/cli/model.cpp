#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/common.h"
#include "attune/cli/export_prompts.h"
#include "attune/cli/verbs.h"
#include "attune/clip/convert.h"
#include "attune/data/layouts.h"
#include "attune/data/splits.h"
#include "attune/methods/import_prompts.h"
#include "attune/training/run_settings.h"

namespace attune {
namespace {

struct ModelOptions {
  Common common;
  std::string model, adapter, out, tokenizer, type = "fp16";
};

struct ImportOptions {
  Common common;
  std::string file, method, model, classes, class_file, data, out;
  bool base = false;
};

const char* name_of(Activation activation) {
  return activation == Activation::kQuickGelu ? "quick_gelu" : "gelu";
}

Json info_json(const ClipModel& model) {
  const TextConfig& text = model.config.text;
  const VisionConfig& vision = model.config.vision;
  const bool resnet = vision.kind == VisionConfig::Kind::kResNet;
  Json image = {{"kind", resnet ? "resnet" : "vit"}, {"image_size", vision.image_size}, {"width", vision.width}};
  if (resnet) {
    image["stages"] = vision.stages;
  } else {
    image["layers"] = vision.layers;
    image["heads"] = vision.heads;
    image["patch"] = vision.patch;
    image["activation"] = name_of(vision.activation);
  }
  return {{"name", model.config.name},
          {"folder", model.folder.string()},
          {"sha256", model.weight_hash()},
          {"joint_width", model.config.joint_width},
          {"logit_scale", model.logit_scale},
          {"text",
           {{"width", text.width},
            {"layers", text.layers},
            {"heads", text.heads},
            {"vocabulary", text.vocabulary},
            {"context_length", text.context_length},
            {"activation", name_of(text.activation)},
            {"pooling", text.pooling == Pooling::kFirstEnd ? "first_end" : "largest_id"}}},
          {"image", image},
          {"preprocess",
           {{"size", model.preprocess.size},
            {"filter", model.preprocess.filter == Filter::kBicubic ? "bicubic" : "bilinear"},
            {"crop", model.preprocess.crop == CropConvention::kTorchvision ? "torchvision" : "hugging_face"},
            {"mean", model.preprocess.mean},
            {"deviation", model.preprocess.deviation}}}};
}

void run_info(const ModelOptions& options) {
  const auto model = open_model(options.common, options.model);
  Json info = info_json(*model);
  if (!options.adapter.empty()) {
    const AdapterInfo adapter = read_adapter_info(options.adapter);
    const std::unique_ptr<Classifier> classifier = load_adapter(options.adapter, model);
    Json tensors = Json::array();
    std::int64_t learned = 0;
    for (const auto& [name, tensor] : classifier->state()) {
      tensors.push_back({{"name", name}, {"shape", tensor.sizes().vec()}});
      learned += tensor.numel();
    }
    info["adapter"] = {{"method", adapter.method},
                       {"classes", adapter.classes.names.size()},
                       {"learned_numbers", learned},
                       {"tensors", tensors},
                       {"config", adapter.config}};
  }
  if (options.common.json) {
    print_json(info);
  } else {
    say(options.common, info.dump(2));
  }
}

void run_convert(const ModelOptions& options) {
  const std::filesystem::path out = options.out;
  if (std::filesystem::exists(out / "config.json") || std::filesystem::exists(out / "open_clip_config.json")) {
    throw UsageError(fmt::format("--out: {} already holds a model; name another folder", out.string()));
  }
  if (options.type != "fp16" && options.type != "fp32") {
    throw UsageError(fmt::format("--type: expected fp16 or fp32, found \"{}\"", options.type));
  }
  convert_archive(options.model, out, options.tokenizer, options.type == "fp16" ? at::kHalf : at::kFloat);
  say(options.common, fmt::format("written: {}; see it with attune model info {}", out.string(), out.string()));
}

/// The classes that imported prompts were learned on.
AdapterInfo learned_on(const ImportOptions& options) {
  const int given = static_cast<int>(!options.classes.empty()) + static_cast<int>(!options.class_file.empty()) +
                    static_cast<int>(!options.data.empty());
  if (given != 1) {
    throw UsageError(fmt::format("import-prompts: expected one of --classes, --class-file and --data, found {}",
                                 given == 0 ? "none" : "more"));
  }
  if (options.base && options.data.empty()) throw UsageError("--base: expected --data, whose first half is meant");
  AdapterInfo info;
  if (!options.data.empty()) {
    const Dataset whole = open_dataset(options.data, {.check_files = false});
    const Dataset dataset = options.base ? take_half(whole, ClassHalf::kBase) : whole;
    info.classes = {dataset.classes, dataset.prompt_template};
    info.dataset = dataset.name;
    return info;
  }
  info.classes.names = options.classes.empty() ? read_lines(options.class_file) : split_list(options.classes);
  std::erase(info.classes.names, "");
  return info;
}

void run_import(const ImportOptions& options) {
  const Common& common = options.common;
  prepare(common);
  if (std::filesystem::exists(std::filesystem::path(options.out) / "adapter_config.json")) {
    throw UsageError(fmt::format("--out: {} already holds an adapter; name another folder", options.out));
  }
  const AdapterInfo learned = learned_on(options);
  const auto model = open_model(common, options.model);
  ImportedPrompts imported = import_prompts(options.file, parse_method(options.method), model, learned.classes);
  for (const std::string& note : imported.notes) log_warning(fmt::format("{}: {}", options.file, note));
  imported.info.dataset = learned.dataset;
  imported.info.version = version();
  save_adapter(options.out, imported.info, *imported.classifier);
  std::int64_t numbers = 0;
  for (const auto& [name, tensor] : imported.classifier->state()) numbers += tensor.numel();
  if (common.json) {
    print_json({{"adapter", options.out},
                {"method", imported.info.method},
                {"classes", imported.info.classes.names.size()},
                {"learned_numbers", numbers},
                {"epoch", imported.epoch ? Json(*imported.epoch) : Json(nullptr)},
                {"notes", imported.notes}});
    return;
  }
  say(common,
      fmt::format("written: {} ({}, {} numbers{}); measure it with attune eval --model {} --adapter {} --data ...",
                  options.out, imported.info.method, numbers,
                  imported.epoch ? fmt::format(", epoch {}", *imported.epoch) : "", options.model, options.out));
}

void add_import(CLI::App& model) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* verb = model.add_subcommand(
      "import-prompts", "Turns a checkpoint of a method's original program into an adapter; nothing in it is executed");
  verb->add_option("file", options->file, "checkpoint, such as model.pth.tar-50")->required()->check(CLI::ExistingFile);
  verb->add_option("--method", options->method,
                   fmt::format("{}; settings that the file does not tell behind a colon, such as "
                               "coop:context.position=middle",
                               fmt::join(importable_methods(), ", ")))
      ->required();
  verb->add_option("--model", options->model, "folder of the CLIP that the prompts were learned for")->required();
  verb->add_option("--classes", options->classes, "names that they were learned on, with commas between them");
  verb->add_option("--class-file", options->class_file, "text file with a class name a line")->check(CLI::ExistingFile);
  verb->add_option("--data", options->data, "data set with the classes that they were learned on");
  verb->add_flag("--base", options->base, "the first half of the classes of --data, as base-to-new learns them");
  verb->add_option("--out", options->out, "folder of the adapter")->required();
  add_common(*verb, options->common);
  verb->callback([options] { run_import(*options); });
}

/// Features of a picture made of keyed noise and of one sentence: numbers to compare between machines and programs.
void run_check(const ModelOptions& options) {
  const auto model = open_model(options.common, options.model);
  const at::NoGradGuard no_gradients;
  KeyedRandom random(options.common.seed, "model check");
  const std::int64_t side = model->config.vision.image_size;
  const Tensor pixels = normal({1, 3, side, side}, 0.0, 1.0, random).to(model->device);
  const Tensor image = normalise_rows(model->image->encode(pixels).global).to(at::kCPU);
  const Tensor text = encode_sentences(*model, {"a photo of a dog."}).to(at::kCPU);
  const auto first = [](const Tensor& features) {
    Json values = Json::array();
    for (std::int64_t i = 0; i < 4; ++i) values.push_back(features[0][i].item<double>());
    return values;
  };
  const bool finite = image.isfinite().all().item<bool>() && text.isfinite().all().item<bool>();
  print_json({{"model", model->config.name},
              {"sha256", model->weight_hash()},
              {"image", first(image)},
              {"text", first(text)},
              {"cosine", at::matmul(image, text.t()).item<double>()},
              {"finite", finite}});
  if (!finite) throw Error(fmt::format("model {}: expected finite features, found others", options.model));
}

}  // namespace

void add_model(CLI::App& app) {
  auto options = std::make_shared<ModelOptions>();
  CLI::App* model = app.add_subcommand("model", "Shows, converts and checks models");
  model->require_subcommand(1);
  const auto add = [&](const char* name, const char* meaning, const char* what, void (*run)(const ModelOptions&)) {
    CLI::App* verb = model->add_subcommand(name, meaning);
    verb->add_option("model", options->model, what)->required();
    add_common(*verb, options->common);
    verb->callback([options, run] {
      prepare(options->common);
      run(*options);
    });
    return verb;
  };
  CLI::App* info = add("info", "Sizes, activation, pooling, preprocessing and hash",
                       "model folder, hf-hub:ORGANISATION/NAME, or pocket", run_info);
  info->add_option("--adapter", options->adapter, "folder of an adapter: what it learned, and where it enters");
  CLI::App* convert = add("convert", "Turns an OpenAI archive into a model folder; nothing in it is executed",
                          "OpenAI archive (.pt)", run_convert);
  convert->add_option("--out", options->out, "folder to write")->required();
  convert->add_option("--tokenizer", options->tokenizer, "tokenizer.json, or OpenAI's bpe_simple_vocab_16e6.txt.gz")
      ->check(CLI::ExistingFile);
  convert->add_option("--type", options->type, "fp16 or fp32")->capture_default_str();
  add_import(*model);
  add_export_prompts(*model);
  add("check", "Features of a known input, to compare between machines",
      "model folder, hf-hub:ORGANISATION/NAME, or pocket", run_check);
}

}  // namespace attune
