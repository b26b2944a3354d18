#include "attune/evaluation/study.h"

#include <filesystem>

#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "attune/data/layouts.h"
#include "attune/evaluation/study_recipe.h"
#include "attune/evaluation/study_report.h"
#include "attune/methods/adapter.h"
#include "tests/support/drawn_domains.h"
#include "tests/support/error_of.h"
#include "tests/support/small_model.h"

namespace attune {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::vector<std::string> kClasses = {"red", "green", "blue"};

class Studies : public testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  /// Short runs of the methods named, on the centre views.
  static std::vector<StudyMethod> methods(const std::string& names) {
    StudyRequest request;
    request.methods = parse_study_methods(names);
    for (StudyRequest::Wanted& wanted : request.methods) {
      wanted.sources.assignments.push_back("views.kind=centre");
      if (wanted.label.starts_with("coop")) wanted.sources.assignments.push_back("epochs=2");
      if (wanted.label == "linear_probe") wanted.sources.assignments.push_back("probe.iterations=5");
      if (wanted.label == "spg") {
        for (const char* one : {"epochs=1", "labels.epochs=2", "batch_size=4", "selection=validation"})
          wanted.sources.assignments.emplace_back(one);
      }
    }
    return study_methods(request);
  }

  StudyOptions options(const std::string& out, int jobs = 1) const {
    StudyOptions made;
    made.folder = folder_.path() / out;
    made.jobs = jobs;
    made.inputs.cache = folder_.path() / "cache";
    made.from.version = "test";
    return made;
  }

  StudyRecord study(const StudyDesign& design, const std::vector<Dataset>& data, const std::string& names,
                    const StudyOptions& with) const {
    const std::vector<StudyMethod> chosen = methods(names);
    return Study(small_model(), data, plan_study(design, data, names_of(chosen)), chosen, with).run();
  }

  static StudyDesign held_out(const std::string& target) {
    StudyDesign design;
    design.protocol = Protocol::kDgMulti;
    design.shots = {2};
    design.targets = {target};
    return design;
  }

  Dataset domains() const {
    return open_dataset(draw_domains(folder_.path() / "domains", {"art", "photo", "sketch"}, kClasses, 6).string());
  }

  std::string file(const std::string& name) const { return read_file(folder_.path() / name); }

  TemporaryFolder folder_;
};

TEST_F(Studies, LabelsOfTheTargetChangeNothingButItsScore) {
  const Dataset data = domains();
  Dataset poisoned = data;
  for (Sample& sample : poisoned.all) {
    if (poisoned.domains[static_cast<std::size_t>(sample.domain)] == "sketch") sample.label = (sample.label + 1) % 3;
  }
  study(held_out("sketch"), {data}, "coop,linear_probe,spg", options("clean"));
  study(held_out("sketch"), {poisoned}, "coop,linear_probe,spg", options("poisoned"));
  for (const std::string method : {"coop", "linear_probe", "spg"}) {
    const std::string run = "/runs/" + method + ".domains.to-sketch.2-shots.seed-1/";
    for (const char* name :
         {"adapter/adapter_model.safetensors", "adapter/adapter_config.json", "split.json", "config.yaml"}) {
      EXPECT_EQ(file("clean" + run + name), file("poisoned" + run + name)) << run << name;
    }
    const auto confusion = [&](const std::string& out) {
      return read_results(folder_.path() / (out + run + "results.json"))[0].measured.confusion;
    };
    EXPECT_NE(confusion("clean"), confusion("poisoned")) << method;
  }
}

TEST_F(Studies, TheTargetsPicturesAreNotEvenOpenedBeforeTheTest) {
  const Dataset data = domains();
  for (const Sample& sample : data.all) {
    if (data.domains[static_cast<std::size_t>(sample.domain)] == "sketch") write_file(data.path_of(sample), "broken");
  }
  const StudyRecord record = study(held_out("sketch"), {data}, "coop", options("out"));
  EXPECT_THAT(record.runs[1].error, HasSubstr("sketch"));
  EXPECT_TRUE(std::filesystem::exists(
      folder_.path() / "out/runs/coop.domains.to-sketch.2-shots.seed-1/adapter/adapter_model.safetensors"));
}

TEST_F(Studies, FinishedRunsAreNotDoneAgainAndAMissingOneComesOutTheSame) {
  const Dataset data = domains();
  const StudyRecord first = study(held_out("sketch"), {data}, "coop", options("out"));
  const std::filesystem::path runs = folder_.path() / "out/runs";
  const auto kept = std::filesystem::last_write_time(runs / "zero_shot.domains.to-sketch/results.json");
  std::filesystem::remove_all(runs / "coop.domains.to-sketch.2-shots.seed-1");
  const StudyRecord again = study(held_out("sketch"), {data}, "coop", options("out"));
  EXPECT_EQ(std::filesystem::last_write_time(runs / "zero_shot.domains.to-sketch/results.json"), kept);
  ASSERT_EQ(again.runs.size(), 2u);
  EXPECT_EQ(again.runs[1].scores[0].metrics.acc1, first.runs[1].scores[0].metrics.acc1);
  EXPECT_EQ(again.runs[0].seconds, first.runs[0].seconds);
}

TEST_F(Studies, SayWhatTheLearnedTokensAreNearestTo) {
  const StudyRecord found =
      study(held_out("photo"), {domains()}, "coop:context.init=a photo of a,linear_probe", options("out"));
  ASSERT_EQ(found.words.size(), 1u);  // a probe has no tokens
  EXPECT_EQ(found.words[0].method, "coop");
  EXPECT_EQ(found.words[0].tokens.at(1).place, "context");
  EXPECT_EQ(found.words[0].tokens.at(1).token, 1);
  const TensorMap tensors = read_adapter_tensors(folder_.path() / "out/runs" / found.words[0].run / "adapter");
  EXPECT_NEAR(found.words[0].tokens.at(1).length, tensors.at("context")[1].norm().item<double>(), 1e-5);
  EXPECT_EQ(found.words[0].tokens.size(), static_cast<std::size_t>(tensors.at("context").size(0)));
  EXPECT_THAT(study_report_html(found), HasSubstr("<section id=\"words\""));
}

TEST_F(Studies, MoreShotsSeedsAndMethodsJoinWhatIsThere) {
  const Dataset data = domains();
  study(held_out("sketch"), {data}, "coop", options("out"));
  StudyDesign more = held_out("sketch");
  more.seeds = {1, 2};
  more.shots = {1, 2};
  const std::vector<StudyMethod> chosen = methods("coop,linear_probe");
  const StudyOptions with = options("out");
  const std::vector<Dataset> all = {data};
  Study study(small_model(), all, plan_study(more, all, names_of(chosen)), chosen, with);
  EXPECT_EQ(study.outlook().finished, 2);
  EXPECT_EQ(study.outlook().runs, 9);
}

TEST_F(Studies, DoNotDependOnHowManyRunsGoSideBySide) {
  const Dataset data = domains();
  StudyDesign design = held_out("sketch");
  design.targets.clear();
  const StudyRecord one = study(design, {data}, "coop,spg", options("one", 1));
  const StudyRecord three = study(design, {data}, "coop,spg", options("three", 3));
  ASSERT_EQ(one.runs.size(), three.runs.size());
  for (std::size_t r = 0; r < one.runs.size(); ++r) {
    const std::string name = "/runs/" + one.runs[r].name + "/adapter/adapter_model.safetensors";
    EXPECT_EQ(file("one" + name), file("three" + name)) << name;
    EXPECT_EQ(one.runs[r].error, "");
    EXPECT_EQ(one.runs[r].name, three.runs[r].name);
    EXPECT_EQ(one.runs[r].scores[0].metrics.ece, three.runs[r].scores[0].metrics.ece);
  }
}

TEST_F(Studies, ARunThatFailsDoesNotLoseTheOthers) {
  draw_domains(folder_.path() / "good", {"train", "test"}, kClasses, 3);
  draw_domains(folder_.path() / "bad", {"train", "test"}, kClasses, 3);
  write_file(folder_.path() / "bad/train/red/broken.png", "not a picture");
  StudyDesign design;
  design.shots = {0};
  const std::vector<Dataset> data = {open_dataset((folder_.path() / "bad").string()),
                                     open_dataset((folder_.path() / "good").string())};
  const StudyRecord record = study(design, data, "coop", options("out"));
  ASSERT_EQ(record.runs.size(), 4u);
  EXPECT_THAT(record.runs[1].error, HasSubstr("broken.png"));
  EXPECT_THAT(record.runs[1].scores, IsEmpty());
  for (const std::size_t r : {0, 2, 3}) EXPECT_EQ(record.runs[r].error, "");
  EXPECT_EQ(read_study(folder_.path() / "out").runs.size(), 4u);
  // Mended, the same study completes.
  std::filesystem::remove(folder_.path() / "bad/train/red/broken.png");
  const std::vector<Dataset> mended = {open_dataset((folder_.path() / "bad").string()), data[1]};
  for (const StudyRun& run : study(design, mended, "coop", options("mended")).runs) EXPECT_EQ(run.error, "");
}

TEST_F(Studies, RefuseMethodsThatCannotNameNewClassesBeforeAnythingRuns) {
  const Dataset data = domains();
  StudyDesign design;
  design.protocol = Protocol::kBaseToNew;
  design.shots = {2};
  for (const std::string names : {"linear_probe", "coop:context.class_specific=true"}) {
    EXPECT_THAT(error_of([&] { study(design, {data}, names, options("out")); }),
                testing::AllOf(HasSubstr("base-to-new"), HasSubstr(names.substr(0, 4)), HasSubstr("new classes")));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "out"));
  const StudyRecord open = study(design, {data}, "coop", options("out"));
  ASSERT_EQ(open.runs[1].scores.size(), 2u);
  EXPECT_EQ(open.runs[1].scores[0].role, Role::kBase);
  EXPECT_EQ(open.runs[1].error, "");
}

TEST_F(Studies, RefuseAFolderWithRunsOfOtherSettings) {
  const Dataset data = domains();
  study(held_out("sketch"), {data}, "coop", options("out"));
  EXPECT_THAT(error_of([&] { study(held_out("sketch"), {data}, "coop:context.length=2", options("out")); }),
              testing::AllOf(HasSubstr("other settings"), HasSubstr("coop.domains.to-sketch")));
}

TEST(StudyRecipe, ReadsProtocolAndMethodsWithSettingsAndRecipes) {
  const TemporaryFolder folder;
  write_file(folder.path() / "coop.yaml", "method: coop\nepochs: 7\ncontext:\n  length: 4\n");
  write_file(folder.path() / "study.yaml",
             "protocol: dg-multi\ndata: emoji-dg\nshots: [1, 4]\nseeds: 2\ntargets: [fluent]\n"
             "methods:\n  coop:\n    recipe: coop.yaml\n    epochs: 3\n  words:\n    method: coop\n    context:\n"
             "      init: a photo of a\n  linear_probe:\n");
  const StudyRequest request = read_study_recipe(folder.path() / "study.yaml");
  EXPECT_EQ(request.protocol, Protocol::kDgMulti);
  EXPECT_THAT(request.shots, testing::ElementsAre(1, 4));
  const std::vector<StudyMethod> methods = study_methods(request);
  ASSERT_EQ(methods.size(), 4u);  // zero_shot is put in front
  EXPECT_EQ(methods[0].name(), "zero_shot");
  EXPECT_EQ(methods[1].config.integer("epochs"), 3);
  EXPECT_EQ(methods[1].config.integer("context.length"), 4);
  EXPECT_EQ(methods[2].label, "words");
  EXPECT_EQ(methods[2].config.text("context.init"), "a photo of a");
}

TEST(StudyRecipe, ThoseThatShipCanBePlanned) {
  const auto recipes = std::filesystem::path(ATTUNE_SOURCE_DIR) / "recipes";
  int found = 0;
  for (const char* folder : {"study", "domains/study"}) {
    for (const auto& entry : std::filesystem::directory_iterator(recipes / folder)) {
      SCOPED_TRACE(entry.path().string());
      const StudyRequest request = read_study_recipe(entry.path());
      EXPECT_TRUE(request.protocol.has_value());
      const std::string name = entry.path().stem().string();
      // Sets of the user's, told by --data.
      const bool wants_data =
          folder != std::string("study") || name == "geology" || name == "medical" || name == "domain_generalisation";
      EXPECT_EQ(request.data.empty(), wants_data);
      EXPECT_THAT(study_methods(request), Not(IsEmpty()));
      ++found;
    }
  }
  EXPECT_GE(found, 6);
}

TEST(StudyRecipe, NamesTheKeyThatIsWrong) {
  const TemporaryFolder folder;
  const auto why = [&](const std::string& text) {
    write_file(folder.path() / "s.yaml", text);
    return error_of([&] { study_methods(read_study_recipe(folder.path() / "s.yaml")); });
  };
  EXPECT_THAT(why("protocoll: few-shot"), testing::AllOf(HasSubstr("s.yaml"), HasSubstr("did you mean \"protocol\"")));
  EXPECT_THAT(why("shots: [1, many]"), HasSubstr("shots"));
  EXPECT_THAT(why("shots: []"), HasSubstr("shots"));
  EXPECT_THAT(why("methods: [coop]"), HasSubstr("methods"));
  EXPECT_THAT(why("methods: {coop: {epochz: 3}}"), testing::AllOf(HasSubstr("methods.coop"), HasSubstr("epochs")));
  EXPECT_THAT(why("methods: {cooop: {}}"), HasSubstr("coop"));
  EXPECT_THAT(why("- few-shot"), HasSubstr("map"));
}

TEST(StudyRecipe, MethodsInOneTextAreToldApart) {
  const auto wanted = parse_study_methods("coop,plain=coop:context.init=a, b,epochs=2,zero_shot");
  ASSERT_EQ(wanted.size(), 3u);
  EXPECT_EQ(wanted[0].label, "coop");
  EXPECT_EQ(wanted[1].label, "plain");
  EXPECT_EQ(wanted[1].sources.method, "coop:context.init=a, b,epochs=2");
  EXPECT_EQ(wanted[2].label, "zero_shot");
  EXPECT_THAT(error_of([] { parse_study_methods("coop,cooop"); }), HasSubstr("did you mean \"coop\""));
  EXPECT_THAT(error_of([] { parse_study_methods("a=b"); }), Not(IsEmpty()));
}

}  // namespace
}  // namespace attune
