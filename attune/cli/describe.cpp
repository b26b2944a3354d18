#include "attune/text/describe.h"

#include <cstdlib>
#include <set>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/cli/checks.h"
#include "attune/cli/common.h"
#include "attune/cli/verbs.h"
#include "attune/data/layouts.h"
#include "attune/text/describe_answers.h"
#include "attune/text/describe_wordnet.h"
#include "attune/training/run_settings.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

struct DescribeOptions {
  Common common;
  std::string classes, class_file, data, from = "endpoint", out, report, style = "cupl",
                                         key_variable = "ATTUNE_API_KEY", wordnet = "/usr/share/wordnet", stop;
  std::vector<std::string> questions;
  Endpoint endpoint;
  std::optional<double> temperature;
  std::optional<int> samples, most_tokens;
  int senses = 1;
  bool again = false, lists = false, no_cache = false;
};

std::vector<std::string> wanted_classes(const DescribeOptions& options) {
  std::vector<std::string> names;
  if (!options.classes.empty()) names = split_list(options.classes);
  if (!options.class_file.empty()) names = read_lines(options.class_file);
  if (!options.data.empty()) names = open_dataset(options.data).classes;
  std::erase(names, "");
  if (names.empty()) throw UsageError("describe: expected --classes, --class-file or --data, found none of them");
  return names;
}

/// Answers that are there already stay, with what people changed in them.
Descriptions kept_descriptions(const DescribeOptions& options) {
  if (options.again || !std::filesystem::exists(options.out)) return {};
  return read_descriptions(options.out);
}

Questions chosen_questions(const DescribeOptions& options) {
  Questions questions = questions_named(options.style);
  if (!options.questions.empty()) {
    for (const std::string& one : options.questions) {
      if (one.find("{}") == std::string::npos)
        throw UsageError(fmt::format("--question: expected {{}} in the place of the class name, found \"{}\"", one));
    }
    questions = {.texts = options.questions, .lists = options.lists};
  }
  if (options.temperature) questions.temperature = *options.temperature;
  if (options.samples) questions.samples = *options.samples;
  if (options.most_tokens) questions.most_tokens = *options.most_tokens;
  if (!options.stop.empty()) questions.stop = options.stop;
  return questions;
}

Described described_by_endpoint(const std::vector<std::string>& classes, const DescribeOptions& options) {
  Endpoint endpoint = options.endpoint;
  if (endpoint.url.empty()) throw UsageError("describe: expected --endpoint URL, or --from wordnet, found neither");
  endpoint.seed = options.common.seed;
  if (const char* key = std::getenv(options.key_variable.c_str()); key != nullptr) endpoint.key = key;
  if (!options.no_cache && endpoint.cache.empty()) endpoint.cache = cache_folder() / "descriptions";
  if (options.no_cache) endpoint.cache.clear();
  const auto progress = make_progress(options.common, "describing");
  return ask_about(classes, chosen_questions(options), endpoint, progress.get());
}

Described described_by_wordnet(const std::vector<std::string>& classes, const DescribeOptions& options) {
  const WordNet wordnet(options.wordnet);
  Described described;
  for (const std::string& name : classes) {
    described.descriptions.of_class[name] = wordnet_sentences(wordnet, name, options.senses);
  }
  return described;
}

Json descriptions_json(const std::vector<std::string>& order, const Descriptions& descriptions) {
  Json json = Json::object();
  for (const std::string& name : order) {
    if (const auto own = descriptions.of_class.find(name); own != descriptions.of_class.end()) json[name] = own->second;
  }
  for (const auto& [name, texts] : descriptions.of_class) json[name] = texts;
  return json;
}

Json report_json(const Descriptions& descriptions, const std::vector<Remark>& remarks, const Described& described) {
  Json flags = Json::array(), missing = Json::array();
  for (const Remark& one : remarks) {
    flags.push_back({{"class", one.class_name},
                     {"kind", one.kind},
                     {"detail", one.detail},
                     {"text", one.text},
                     {"left_out", one.left_out}});
  }
  std::size_t texts = 0;
  for (const auto& [name, own] : descriptions.of_class) {
    texts += own.size();
    if (own.empty()) missing.push_back(name);
  }
  return {{"classes", descriptions.of_class.size()}, {"texts", texts},           {"asked", described.asked},
          {"from_cache", described.cached},          {"without_texts", missing}, {"flags", flags}};
}

void run_describe(const DescribeOptions& options) {
  const Common& common = options.common;
  if (options.from != "endpoint" && options.from != "wordnet") {
    throw UsageError(fmt::format("--from: expected endpoint or wordnet, found \"{}\"", options.from));
  }
  const std::vector<std::string> classes = wanted_classes(options);
  Descriptions all = kept_descriptions(options);
  std::vector<std::string> missing;
  for (const std::string& name : classes) {
    const auto own = all.of_class.find(name);
    if (own == all.of_class.end() || own->second.empty()) missing.push_back(name);
  }
  if (missing.size() < classes.size()) {
    say(common, fmt::format("{} of {} classes have texts in {} and keep them (--again asks anew)",
                            classes.size() - missing.size(), classes.size(), options.out));
  }
  Described described;
  if (!missing.empty()) {
    described =
        options.from == "wordnet" ? described_by_wordnet(missing, options) : described_by_endpoint(missing, options);
  }
  for (auto& [name, texts] : described.descriptions.of_class) all.of_class[name] = std::move(texts);
  const std::vector<Remark> remarks = review(all);
  write_json(options.out, descriptions_json(classes, all));
  const Json report = report_json(all, remarks, described);
  const std::string report_file = options.report.empty() ? options.out + ".report.json" : options.report;
  write_json(report_file, report);
  if (described.stopped) throw Stopped{"the same command goes on with the classes that are left"};
  if (common.json) {
    print_json(report);
    return;
  }
  say(common, fmt::format("{}: {} texts about {} classes; {} remarks and {} classes without texts in {}", options.out,
                          report["texts"].get<std::size_t>(), all.of_class.size(), remarks.size(),
                          report["without_texts"].size(), report_file));
}

}  // namespace

void add_describe(CLI::App& app) {
  auto options = std::make_shared<DescribeOptions>();
  CLI::App* verb =
      app.add_subcommand("describe", "Writes descriptions of classes, by a language model or from WordNet");
  verb->add_option("--classes", options->classes, "class names, with commas between them");
  verb->add_option("--class-file", options->class_file, "text file with a class name a line")->check(CLI::ExistingFile);
  verb->add_option("--data", options->data, "data set whose classes are described");
  verb->add_option("--out", options->out, "JSON file of descriptions; classes that it has keep theirs")->required();
  verb->add_option("--report", options->report, "JSON file of what to look at (default: OUT.report.json)");
  verb->add_flag("--again", options->again, "ask anew about classes that OUT has");
  verb->add_option("--from", options->from, "endpoint or wordnet")->capture_default_str();
  verb->add_option("--endpoint", options->endpoint.url, "URL of an OpenAI-compatible server, up to and with /v1");
  verb->add_option("--llm", options->endpoint.model, "language model, as the server knows it");
  verb->add_option("--key-variable", options->key_variable, "environment variable with the server's key")
      ->capture_default_str();
  verb->add_option("--style", options->style, "menon (lists of descriptors) or cupl (sentences)")
      ->capture_default_str();
  verb->add_option("--question", options->questions, "your own question, with {} for the name; may be repeated");
  verb->add_flag("--lists", options->lists, "answers to your own questions are lists");
  verb->add_option("--samples", options->samples, "answers to each question (default: the style's)")
      ->check(within(1, 1000));
  verb->add_option("--temperature", options->temperature, "of sampling (default: the style's)")
      ->check(within(0.0, 2.0));
  verb->add_option("--max-tokens", options->most_tokens, "of an answer (default: the style's)")->check(within(1, 4096));
  verb->add_option("--stop", options->stop, "text that ends an answer (default: the style's)");
  verb->add_option("--retries", options->endpoint.retries, "of a request that failed for now")
      ->capture_default_str()
      ->check(within(0, 100));
  verb->add_option("--rate", options->endpoint.a_minute, "requests a minute at most; 0: no limit")
      ->capture_default_str()
      ->check(within(0.0, 1e6));
  verb->add_option("--timeout", options->endpoint.timeout, "seconds of a request")
      ->capture_default_str()
      ->check(within(1.0, 3600.0));
  verb->add_flag("--no-cache", options->no_cache, "neither read nor write the cache of answers");
  verb->add_option("--wordnet", options->wordnet, "folder of WordNet's data files")->capture_default_str();
  verb->add_option("--senses", options->senses, "meanings of a name, the most frequent first")
      ->capture_default_str()
      ->check(within(1, 100));
  add_common(*verb, options->common);
  verb->callback([options] { run_describe(*options); });
}

}  // namespace attune
