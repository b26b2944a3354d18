#include <gmock/gmock.h>

#include "attune/base/json.h"
#include "attune/formats/safetensors.h"
#include "tests/cli/program.h"
#include "tests/support/drawn_domains.h"
#include "tests/support/stored.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing_support::kSmallClip;

const std::string kSource = ATTUNE_SOURCE_DIR;
const std::string kDomainModel = kSource + "/tests/domains/data/vit_mae";
const std::vector<std::string> kRocks = {"Berea", "Doddington", "Estaillade", "Ketton"};

/// Two sets of the layout of GDPL's release: one with the authors' division, one without.
class DomainSets : public testing::Test {
 protected:
  DomainSets() {
    draw_domains(at("rock_image_x"), {"rock_image_x"}, kRocks, 10);
    draw_domains(at("rock_image_y"), {"rock_image_y"}, kRocks, 10);
    Json split = {{"train", Json::array()}, {"val", Json::array()}, {"test", Json::array()}};
    for (std::size_t c = 0; c < kRocks.size(); ++c) {
      for (int i = 0; i < 10; ++i) {
        const char* part = i < 5 ? "train" : i < 7 ? "val" : "test";
        split[part].push_back({kRocks[c] + "/" + std::to_string(i) + ".png", c, kRocks[c] + " Rock"});
      }
    }
    write_file(at("rock_image_x") + "/split_cao_rock_image_x.json", split.dump());
  }

  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  Finished run(std::vector<std::string> words) const {
    words.insert(words.end(), {"--threads", "1"});
    return run_attune(words, folder_.path());
  }
  Finished train(const std::string& out, const std::vector<std::string>& more,
                 const std::string& method = "gdpl:epochs=2") const {
    std::vector<std::string> words = {"train", "--model", kSmallClip, "--data", at("rock_image_x"), "--out", at(out)};
    words.insert(words.end(), {"--method", method, "--shots", "4", "--no-augment"});
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  Finished embed(const std::string& out, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words = {"embed", "--model", kDomainModel, "--images", at("rock_image_x"), "--raw"};
    words.insert(words.end(), {"--out", at(out)});
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  Finished study(const std::string& recipe, const std::string& out, const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"study", "--recipe", kSource + "/recipes/domains/study/" + recipe, "--model"};
    words.insert(words.end(), {kSmallClip, "--out", at(out), "--shots", "2", "--seeds", "1", "--jobs", "1", "--set"});
    words.insert(words.end(), {"*.epochs=1", "--domain-model", kDomainModel});
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  std::string adapter(const std::string& out) const {
    return read_file(at(out) + "/adapter/adapter_model.safetensors");
  }

  TemporaryFolder folder_;
};

TEST_F(DomainSets, AFileOfFeaturesTrainsAsTheModelThatItIsFrom) {
  ASSERT_EQ(embed("f.safetensors").status, 0);
  const Finished by_model = train("model", {"--domain-model", kDomainModel});
  ASSERT_EQ(by_model.status, 0) << by_model.err;
  EXPECT_THAT(by_model.out, Not(HasSubstr("without --domain-model")));
  const Finished by_file = train("file", {"--domain-model", at("f.safetensors")});
  ASSERT_EQ(by_file.status, 0) << by_file.err;
  EXPECT_EQ(adapter("file"), adapter("model"));
  EXPECT_EQ(read_json(at("file/results.json"))["metrics"], read_json(at("model/results.json"))["metrics"]);

  // Pictures are known by their content, so the folder may move; and the model may take the file's place for new ones.
  fs::rename(at("rock_image_x"), at("elsewhere"));
  const std::vector<std::string> eval = {"eval", "--model", kSmallClip, "--adapter", at("file/adapter"), "--json"};
  const auto measured = [&](const std::string& data, const std::string& domain_model) {
    std::vector<std::string> words = eval;
    words.insert(words.end(), {"--data", data, "--domain-model", domain_model});
    return run(words);
  };
  const Finished moved = measured(at("elsewhere"), at("f.safetensors"));
  ASSERT_EQ(moved.status, 0) << moved.err;
  EXPECT_EQ(parse_json(moved.out, "out")["metrics"],
            parse_json(measured(at("elsewhere"), kDomainModel).out, "out")["metrics"]);
  draw_domains(at("new"), {"x", "y"}, kRocks, 1);  // the pictures of x are those of rock_image_x
  const Finished unknown = measured(at("new/y"), at("f.safetensors"));
  EXPECT_EQ(unknown.status, 1);
  EXPECT_THAT(unknown.err, AllOf(HasSubstr("f.safetensors: expected a feature of"), HasSubstr("new/y/")));
  const std::string picture = at("new/y/Ketton/0.png");
  const Finished named = run({"predict", "--model", kSmallClip, "--adapter", at("file/adapter"), "--domain-model",
                              kDomainModel, "--json", picture});
  ASSERT_EQ(named.status, 0) << named.err;
  EXPECT_EQ(parse_json(named.out, "out")["labels"].size(), 4u);
}

TEST_F(DomainSets, ARunIsResumedWithTheSameDomainModelWhereverItLiesAndNotWithAnother) {
  ASSERT_EQ(embed("f.safetensors").status, 0);
  ASSERT_EQ(train("run", {"--domain-model", at("f.safetensors"), "--no-test"}).status, 0);
  const auto resumed = [&](const std::string& domain_model) {
    return train("run", {"--domain-model", domain_model, "--no-test", "--resume"});
  };
  fs::rename(at("f.safetensors"), at("moved.safetensors"));
  EXPECT_EQ(resumed(at("moved.safetensors")).status, 0);
  // The same name and encoder, another number.
  std::string bytes = read_file(at("moved.safetensors"));
  bytes[bytes.size() - 2] = static_cast<char>(bytes[bytes.size() - 2] ^ 0x10);
  write_file(at("moved.safetensors"), bytes);
  const Finished other = resumed(at("moved.safetensors"));
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(other.err, HasSubstr("another configuration"));
  EXPECT_THAT(resumed(at("f.safetensors")).err, HasSubstr("f.safetensors"));

  fs::copy(kDomainModel, at("mae"), fs::copy_options::recursive);
  ASSERT_EQ(train("by_folder", {"--domain-model", kDomainModel, "--no-test"}).status, 0);
  const std::vector<std::string> elsewhere = {"--domain-model", at("mae"), "--no-test", "--resume"};
  EXPECT_EQ(train("by_folder", elsewhere).status, 0);
  Json config = read_json(at("mae/config.json"));
  config["layer_norm_eps"] = 1e-3;
  write_file(at("mae/config.json"), config.dump());
  const Finished changed = train("by_folder", elsewhere);
  EXPECT_EQ(changed.status, 2);
  EXPECT_THAT(changed.err, HasSubstr("another configuration"));
}

TEST_F(DomainSets, FeaturesOfAnotherEncoderWidthOrMethodAreRefused) {
  ASSERT_EQ(embed("f.safetensors").status, 0);
  ASSERT_EQ(embed("tapped.safetensors", {"--tap", "decoder"}).status, 0);
  ASSERT_EQ(train("run", {"--domain-model", at("f.safetensors"), "--no-test"}).status, 0);
  const auto refused = [&](const std::string& domain_model) {
    const Finished found = run({"eval", "--model", kSmallClip, "--adapter", at("run/adapter"), "--data",
                                at("rock_image_x"), "--domain-model", domain_model});
    EXPECT_EQ(found.status, 1);
    return found.err;
  };
  EXPECT_THAT(refused(at("tapped.safetensors")),
              AllOf(HasSubstr("domain.model"), HasSubstr("width 24"), HasSubstr("found 16")));
  // The same width, cut to the unit sphere.
  ASSERT_EQ(
      run({"embed", "--model", kDomainModel, "--images", at("rock_image_x"), "--out", at("unit.safetensors")}).status,
      0);
  EXPECT_THAT(refused(at("unit.safetensors")), HasSubstr("learned with; found another"));
  EXPECT_THAT(refused(at("none.safetensors")), HasSubstr("none.safetensors"));
  EXPECT_THAT(train("other", {"--domain-model", kDomainModel}, "coop").err,
              AllOf(HasSubstr("--domain-model"), HasSubstr("coop")));
  EXPECT_THAT(train("other", {"--domain-model", at("rock_image_x")}).err, HasSubstr("config.json"));
}

TEST_F(DomainSets, WithoutADomainModelTheProgramSaysWhatTakesItsPlace) {
  const Finished found = train("run", {"--dry-run"});
  ASSERT_EQ(found.status, 0) << found.err;
  EXPECT_THAT(found.out, HasSubstr("without --domain-model: the base model's own image features"));
}

TEST_F(DomainSets, BaseToNovelReadsTheAuthorsDivision) {
  const Finished check = run({"data", "check", at("rock_image_x")});
  EXPECT_THAT(check.out, AllOf(HasSubstr("CoOp split file"), HasSubstr("Estaillade Rock")));
  const Finished found = study("base_to_novel.yaml", "out", {"--data", at("rock_image_x")});
  ASSERT_EQ(found.status, 0) << found.err;
  EXPECT_THAT(found.out, AllOf(HasSubstr("base"), HasSubstr("new"), HasSubstr("gdpl")));
  const Json study = read_json(at("out/study.json"));
  ASSERT_EQ(study["runs"].size(), 6u);
  for (const Json& one : study["runs"]) EXPECT_EQ(one["error"], "") << one["name"];
  const Json config = study["methods"][5]["config"];
  EXPECT_EQ(config["domain.model"], kDomainModel);
  EXPECT_EQ(config["depth"], 9);
}

TEST_F(DomainSets, CrossDatasetAndV2LearnOnOneSetAndTestAnother) {
  const std::vector<std::string> both = {"--data", at("rock_image_x") + "," + at("rock_image_y/rock_image_y")};
  const Finished cross = study("cross_dataset.yaml", "cross", both), v2 = study("v2.yaml", "v2", both);
  ASSERT_EQ(cross.status, 0) << cross.err;
  ASSERT_EQ(v2.status, 0) << v2.err;
  // The set without a division is divided 50/20/30 by class: 3 of 10 are tested; v2 tests every picture.
  EXPECT_THAT(cross.out, AllOf(HasSubstr("rock_image_x (12)"), HasSubstr("rock_image_y (12)")));
  EXPECT_THAT(v2.out, HasSubstr("rock_image_y (40)"));
  EXPECT_EQ(read_json(at("cross/study.json"))["methods"][5]["config"]["depth"], 3);
}

TEST_F(DomainSets, SettingsForManyMethodsNeedOneThatHasTheKey) {
  const auto refused = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"study",  "few-shot",         "--model", kSmallClip,
                                      "--data", at("rock_image_x"), "--out",   at("o")};
    words.insert(words.end(), {"--methods", "coop"});
    words.insert(words.end(), more.begin(), more.end());
    const Finished found = run(words);
    EXPECT_EQ(found.status, 2);
    return found.err;
  };
  EXPECT_THAT(refused({"--domain-model", kDomainModel}), AllOf(HasSubstr("--domain-model"), HasSubstr("domain.model")));
  EXPECT_THAT(refused({"--set", "*.epohcs=2"}), HasSubstr("epohcs"));
  EXPECT_THAT(refused({"--set", "gdpl_*.epochs=2"}), HasSubstr("gdpl_*"));
}

}  // namespace
}  // namespace attune
