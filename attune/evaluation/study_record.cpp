#include "attune/evaluation/study_record.h"

#include <cmath>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/json_count.h"
#include "attune/evaluation/json_values.h"

namespace attune {
namespace {

constexpr std::string_view kFormat = "attune-study-1";
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// A share in [0, 1]; NaN for null.
double share_or_nan(const Json& object, std::string_view key, const std::string& where) {
  const double value = json_or<double>(object, key, kNan, where);
  if (value < 0 || value > 1) throw Error(fmt::format("{}: expected \"{}\" from 0 to 1, found {}", where, key, value));
  return value;
}

Json required_list(const Json& object, std::string_view key, const std::string& where) {
  Json list = json_at<Json>(object, key, where);
  if (!list.is_array()) throw Error(fmt::format("{}: expected \"{}\" to be a list", where, key));
  return list;
}

Json to_json(const StudyScore& score) {
  Json value = {{"test", score.test},
                {"column", score.column},
                {"role", name_of(score.role)},
                {"dataset", score.dataset},
                {"count", score.count},
                {"acc1", number_or_null(score.metrics.acc1)},
                {"acc5", number_or_null(score.metrics.acc5)},
                {"mean_per_class_recall", number_or_null(score.metrics.mean_per_class_recall)},
                {"ece", number_or_null(score.metrics.ece)},
                {"zero_shot_acc1", number_or_null(score.zero_shot)}};
  for (const NamedAccuracy& group : score.groups)
    value["groups"][group.name] = {{"count", group.accuracy.count}, {"acc1", number_or_null(group.accuracy.acc1)}};
  for (const auto& [group, floor] : score.floors) value["floors"][group] = number_or_null(floor);
  value["reliability"] = Json::array();
  for (const ReliabilityBin& bin : score.reliability)
    value["reliability"].push_back(
        {bin.low, bin.high, bin.count, number_or_null(bin.confidence), number_or_null(bin.accuracy)});
  return value;
}

ReliabilityBin bin_from(const Json& value, const std::string& where) {
  if (!value.is_array() || value.size() != 5)
    throw Error(where + ": expected [low, high, count, confidence, accuracy]");
  const Json named = {
      {"low", value[0]}, {"high", value[1]}, {"count", value[2]}, {"confidence", value[3]}, {"accuracy", value[4]}};
  const ReliabilityBin bin{share_or_nan(named, "low", where), share_or_nan(named, "high", where),
                           count_at(named, "count", where), share_or_nan(named, "confidence", where),
                           share_or_nan(named, "accuracy", where)};
  if (bin.count > 0 && !(std::isfinite(bin.confidence) && std::isfinite(bin.accuracy)))
    throw Error(where + ": expected confidence and accuracy of a bin with pictures, found null");
  return bin;
}

StudyScore score_from(const Json& value, const std::string& where) {
  StudyScore score;
  score.test = json_at<std::string>(value, "test", where);
  score.column = json_at<std::string>(value, "column", where);
  score.role = role_named(json_at<std::string>(value, "role", where), where);
  score.dataset = json_at<std::string>(value, "dataset", where);
  score.count = count_at(value, "count", where);
  score.metrics = {share_or_nan(value, "acc1", where), share_or_nan(value, "acc5", where),
                   share_or_nan(value, "mean_per_class_recall", where), share_or_nan(value, "ece", where)};
  score.zero_shot = share_or_nan(value, "zero_shot_acc1", where);
  const Json groups = json_or<Json>(value, "groups", Json::object(), where);
  for (const auto& [name, group] : groups.items()) {
    const std::string inside = fmt::format("{}: groups.{}", where, name);
    score.groups.push_back({name, {count_at(group, "count", inside), share_or_nan(group, "acc1", inside)}});
  }
  const Json floors = json_or<Json>(value, "floors", Json::object(), where);
  for (const auto& [name, unused] : floors.items()) score.floors[name] = share_or_nan(floors, name, where + ": floors");
  for (const Json& bin : required_list(value, "reliability", where))
    score.reliability.push_back(bin_from(bin, fmt::format("{}: reliability[{}]", where, score.reliability.size())));
  return score;
}

Json to_json(const StudyRun& run) {
  Json value = {{"name", run.name},
                {"method", run.method},
                {"training", run.training},
                {"sources", run.sources},
                {"shots", run.shots ? Json(*run.shots) : Json(nullptr)},
                {"seed", run.seed},
                {"split", run.split},
                {"training_pictures", run.training_pictures},
                {"validation_pictures", run.validation_pictures},
                {"seconds", run.seconds},
                {"error", run.error}};
  value["scores"] = Json::array();
  for (const StudyScore& score : run.scores) value["scores"].push_back(to_json(score));
  return value;
}

std::optional<int> shots_from(const Json& value, const std::string& where) {
  const std::int64_t shots = json_or<std::int64_t>(value, "shots", -1, where);
  if (shots < -1 || shots > std::numeric_limits<int>::max())
    throw Error(fmt::format("{}: expected \"shots\" of at least 0, found {}", where, shots));
  return shots < 0 ? std::nullopt : std::optional(static_cast<int>(shots));
}

StudyRun run_from(const Json& value, const std::string& where) {
  StudyRun run;
  run.name = json_at<std::string>(value, "name", where);
  run.method = json_at<std::string>(value, "method", where);
  run.training = json_at<std::string>(value, "training", where);
  run.sources = json_at<std::vector<std::string>>(value, "sources", where);
  run.shots = shots_from(value, where);
  run.seed = static_cast<std::uint64_t>(json_at<std::int64_t>(value, "seed", where));
  run.split = json_at<std::string>(value, "split", where);
  run.training_pictures = count_at(value, "training_pictures", where);
  run.validation_pictures = count_at(value, "validation_pictures", where);
  run.seconds = json_at<double>(value, "seconds", where);
  run.error = json_at<std::string>(value, "error", where);
  for (const Json& score : required_list(value, "scores", where))
    run.scores.push_back(score_from(score, fmt::format("{}: scores[{}]", where, run.scores.size())));
  return run;
}

Json to_json(const StudyConfusion& confusion) {
  return {{"method", confusion.method},
          {"shots", confusion.shots ? Json(*confusion.shots) : Json(nullptr)},
          {"tests", confusion.tests},
          {"classes", confusion.classes},
          {"counts", confusion.counts}};
}

StudyConfusion confusion_from(const Json& value, const std::string& where) {
  StudyConfusion confusion;
  confusion.method = json_at<std::string>(value, "method", where);
  confusion.shots = shots_from(value, where);
  confusion.tests = json_at<std::vector<std::string>>(value, "tests", where);
  confusion.classes = json_at<std::vector<std::string>>(value, "classes", where);
  const std::size_t classes = confusion.classes.size();
  for (const Json& row : required_list(value, "counts", where)) {
    if (!row.is_array() || row.size() != classes)
      throw Error(fmt::format("{}: expected {} counts in each row of \"counts\"", where, classes));
    std::vector<std::int64_t>& counts = confusion.counts.emplace_back();
    for (const Json& count : row) counts.push_back(count_at({{"counts", count}}, "counts", where));
  }
  if (confusion.counts.size() != classes)
    throw Error(fmt::format("{}: expected {} rows of \"counts\", found {}", where, classes, confusion.counts.size()));
  return confusion;
}

Json to_json(const StudyWords& words) {
  Json value = {{"method", words.method}, {"run", words.run}, {"left_out", words.left_out}, {"tokens", Json::array()}};
  for (const StudyToken& one : words.tokens) {
    value["tokens"].push_back({{"place", one.place},
                               {"token", one.token},
                               {"length", one.length},
                               {"word", one.word},
                               {"cosine", one.cosine}});
  }
  return value;
}

StudyWords words_from(const Json& value, const std::string& where) {
  StudyWords words;
  words.method = json_at<std::string>(value, "method", where);
  words.run = json_at<std::string>(value, "run", where);
  words.left_out = count_at(value, "left_out", where);
  for (const Json& one : required_list(value, "tokens", where)) {
    const std::string inside = fmt::format("{}: tokens[{}]", where, words.tokens.size());
    words.tokens.push_back({json_at<std::string>(one, "place", inside), count_at(one, "token", inside),
                            json_at<double>(one, "length", inside), json_at<std::string>(one, "word", inside),
                            json_at<double>(one, "cosine", inside)});
  }
  return words;
}

}  // namespace

Json to_json(const StudyRecord& study) {
  Json value = {{"format", kFormat},          {"protocol", study.protocol},
                {"model", study.model},       {"pretrained", study.pretrained},
                {"version", study.version},   {"command", study.command},
                {"datasets", study.datasets}, {"draw", study.draw},
                {"shots", study.shots},       {"seeds", study.seeds}};
  value["methods"] = Json::array();
  for (const StudiedMethod& method : study.methods)
    value["methods"].push_back({{"label", method.label}, {"method", method.method}, {"config", method.config}});
  value["runs"] = Json::array();
  for (const StudyRun& run : study.runs) value["runs"].push_back(to_json(run));
  value["confusions"] = Json::array();
  for (const StudyConfusion& confusion : study.confusions) value["confusions"].push_back(to_json(confusion));
  value["words"] = Json::array();
  for (const StudyWords& words : study.words) value["words"].push_back(to_json(words));
  return value;
}

StudyRecord study_from_json(const Json& value, const std::string& where) {
  if (const auto format = json_at<std::string>(value, "format", where); format != kFormat)
    throw Error(fmt::format("{}: expected the format {}, found \"{}\"", where, kFormat, format));
  StudyRecord study;
  study.protocol = name_of(protocol_named(json_at<std::string>(value, "protocol", where)));
  study.model = json_at<std::string>(value, "model", where);
  study.pretrained = json_at<std::string>(value, "pretrained", where);
  study.version = json_at<std::string>(value, "version", where);
  study.command = json_at<std::string>(value, "command", where);
  study.datasets = json_at<std::vector<std::string>>(value, "datasets", where);
  study.draw = json_at<std::string>(value, "draw", where);
  for (const Json& shots : required_list(value, "shots", where))
    study.shots.push_back(static_cast<int>(json_at<std::int64_t>({{"shots", shots}}, "shots", where)));
  for (const Json& seed : required_list(value, "seeds", where))
    study.seeds.push_back(static_cast<std::uint64_t>(json_at<std::int64_t>({{"seed", seed}}, "seed", where)));
  std::set<std::string> labels;
  for (const Json& method : required_list(value, "methods", where)) {
    const std::string inside = fmt::format("{}: methods[{}]", where, study.methods.size());
    study.methods.push_back({json_at<std::string>(method, "label", inside),
                             json_at<std::string>(method, "method", inside), json_at<Json>(method, "config", inside)});
    labels.insert(study.methods.back().label);
  }
  for (const Json& run : required_list(value, "runs", where)) {
    const std::string inside = fmt::format("{}: runs[{}]", where, study.runs.size());
    study.runs.push_back(run_from(run, inside));
    if (!labels.contains(study.runs.back().method)) {
      throw Error(fmt::format("{}: expected a method of the study, found \"{}\"", inside, study.runs.back().method));
    }
  }
  if (value.contains("confusions")) {
    for (const Json& confusion : required_list(value, "confusions", where))
      study.confusions.push_back(
          confusion_from(confusion, fmt::format("{}: confusions[{}]", where, study.confusions.size())));
  }
  if (value.contains("words")) {
    for (const Json& words : required_list(value, "words", where))
      study.words.push_back(words_from(words, fmt::format("{}: words[{}]", where, study.words.size())));
  }
  return study;
}

std::filesystem::path study_file(const std::filesystem::path& folder) {
  return folder / "study.json";
}

StudyRecord read_study(const std::filesystem::path& folder) {
  return study_from_json(read_json(study_file(folder)), study_file(folder).string());
}

}  // namespace attune
