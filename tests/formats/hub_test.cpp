#include "attune/formats/hub.h"

#include <cstdlib>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "tests/support/local_server.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

const std::string kCommit = "0123456789abcdef0123456789abcdef01234567";
const std::string kModel = "hf-hub:someone/small-clip";

std::string line_of(const std::string& request) {
  return request.substr(0, request.find("\r\n"));
}

/// A hub that holds one model, gives parts of files where it is asked for, and may break off.
class Hub {
 public:
  Hub() : server_([this](const std::string& request, std::size_t) { return answer(request); }) {}

  std::string endpoint() const { return server_.root(); }
  std::vector<std::string> requests() const { return server_.requests(); }

  std::map<std::string, std::string> files = {{"README.md", "not needed"},
                                              {"config.json", "{}"},
                                              {"tokenizer.json", "{\"a\": 1}"},
                                              {"pytorch_model.bin", "not wanted"},
                                              {"model.safetensors", std::string(100'000, 'w')}};
  std::size_t breaks_after = 0;  // bytes of model.safetensors; 0: it does not
  std::string listed_sum;        // instead of the true one
  std::string redirects_to;      // where files are in truth
  bool gives_parts = true;

 private:
  Json listing() const {
    Json siblings = Json::array();
    for (const auto& [name, content] : files) {
      Json file = {{"rfilename", name}, {"size", content.size()}};
      if (name.ends_with(".safetensors")) {
        file["lfs"] = {{"sha256", listed_sum.empty() ? sha256(content) : listed_sum}, {"size", content.size()}};
      }
      siblings.push_back(file);
    }
    return {{"sha", kCommit}, {"siblings", siblings}};
  }

  std::string answer(const std::string& request) const {
    const std::string line = line_of(request);
    if (line.find(" /api/models/someone/small-clip/revision/main?blobs=true ") != std::string::npos) {
      return LocalServer::with("200 OK", listing().dump());
    }
    const std::string files_at = "/someone/small-clip/resolve/" + kCommit + "/";
    const auto begin = line.find(files_at);
    if (begin == std::string::npos) return LocalServer::with("404 Not Found", "");
    const auto rest = line.substr(begin + files_at.size());
    const auto found = files.find(rest.substr(0, rest.find(' ')));
    if (found == files.end()) return LocalServer::with("404 Not Found", "");
    if (!redirects_to.empty()) {
      return LocalServer::with("302 Found", "",
                               "Location: " + redirects_to + line.substr(begin, line.rfind(' ') - begin) + "\r\n");
    }
    return content_of(found->first, found->second, request);
  }

  std::string content_of(const std::string& name, const std::string& content, const std::string& request) const {
    const auto range = request.find("Range: bytes=");
    const std::size_t from = gives_parts && range != std::string::npos ? std::stoul(request.substr(range + 13)) : 0;
    std::string whole = LocalServer::with(from > 0 ? "206 Partial Content" : "200 OK", content.substr(from),
                                          from > 0 ? "Content-Range: bytes " + std::to_string(from) + "-" +
                                                         std::to_string(content.size() - 1) + "/" +
                                                         std::to_string(content.size()) + "\r\n"
                                                   : "");
    if (name == "model.safetensors" && breaks_after > 0)
      whole.resize(whole.size() - content.size() + from + breaks_after);
    return whole;
  }

  LocalServer server_;
};

class HubModel : public testing::Test {
 protected:
  HubModel() {
    ::setenv("HF_ENDPOINT", hub_.endpoint().c_str(), 1);
    ::setenv("HF_HOME", home_.path().c_str(), 1);
    for (const char* name : {"HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"}) ::unsetenv(name);
  }
  ~HubModel() override {
    for (const char* name : {"HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE", "HF_TOKEN"}) ::unsetenv(name);
  }
  fs::path repository() const { return home_.path() / "hub" / "models--someone--small-clip"; }
  fs::path snapshot() const { return repository() / "snapshots" / kCommit; }

  TemporaryFolder home_;
  Hub hub_;
};

TEST_F(HubModel, IsDownloadedOnceAndThenTakenFromTheCache) {
  EXPECT_EQ(hub_folder(kModel), snapshot());
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    EXPECT_EQ(read_file(snapshot() / name), hub_.files.at(name)) << name;
  }
  EXPECT_FALSE(fs::exists(snapshot() / "README.md"));
  EXPECT_FALSE(fs::exists(snapshot() / "pytorch_model.bin"));
  EXPECT_EQ(read_file(repository() / "refs" / "main"), kCommit);
  const std::size_t asked = hub_.requests().size();
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  EXPECT_EQ(hub_folder(kModel), snapshot());
  EXPECT_EQ(hub_folder(kModel + "@" + kCommit), snapshot());
  EXPECT_EQ(hub_.requests().size(), asked);
}

TEST_F(HubModel, GoesOnWhereADownloadBrokeOff) {
  hub_.breaks_after = 40'000;
  EXPECT_THAT([] { hub_folder(kModel); }, ThrowsMessage<Error>(HasSubstr("model.safetensors")));
  EXPECT_FALSE(fs::exists(snapshot() / "model.safetensors"));
  hub_.breaks_after = 0;
  EXPECT_EQ(read_file(hub_folder(kModel) / "model.safetensors"), hub_.files.at("model.safetensors"));
  EXPECT_THAT(hub_.requests().back(), HasSubstr("Range: bytes=40000-"));
}

TEST_F(HubModel, BeginsAnewWhereTheServerGivesNoPartsOfFiles) {
  hub_.breaks_after = 40'000;
  EXPECT_THROW(hub_folder(kModel), Error);
  hub_.breaks_after = 0;
  hub_.gives_parts = false;
  EXPECT_EQ(read_file(hub_folder(kModel) / "model.safetensors"), hub_.files.at("model.safetensors"));
}

TEST_F(HubModel, WithAnotherSumIsThrownAway) {
  hub_.listed_sum = std::string(64, '0');
  EXPECT_THAT([] { hub_folder(kModel); },
              ThrowsMessage<Error>(AllOf(HasSubstr("model.safetensors"), HasSubstr("SHA-256"))));
  EXPECT_FALSE(fs::exists(snapshot() / "model.safetensors"));
  EXPECT_FALSE(fs::exists(snapshot() / "model.safetensors.incomplete"));
  hub_.listed_sum.clear();
  EXPECT_EQ(hub_folder(kModel), snapshot());
}

TEST_F(HubModel, TheTokenGoesToTheHubAndToNoOtherServer) {
  Hub storage;
  hub_.redirects_to = storage.endpoint();
  ::setenv("HF_TOKEN", "very-secret", 1);
  EXPECT_EQ(read_file(hub_folder(kModel) / "config.json"), "{}");
  for (const std::string& request : hub_.requests()) EXPECT_THAT(request, HasSubstr("Bearer very-secret"));
  ASSERT_FALSE(storage.requests().empty());
  for (const std::string& request : storage.requests()) EXPECT_THAT(request, Not(HasSubstr("very-secret")));
}

TEST_F(HubModel, ThatCannotBeHadSaysWhy) {
  EXPECT_THAT([] { hub_folder("hf-hub:someone/other"); },
              ThrowsMessage<Error>(AllOf(HasSubstr("someone/other"), HasSubstr("404"))));
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  EXPECT_THAT([] { hub_folder(kModel); }, ThrowsMessage<Error>(AllOf(HasSubstr(kModel), HasSubstr("HF_HUB_OFFLINE"))));
  ::unsetenv("HF_HUB_OFFLINE");
  hub_.files.erase("model.safetensors");
  EXPECT_THAT([] { hub_folder(kModel); },
              ThrowsMessage<Error>(
                  AllOf(HasSubstr("expected config.json with model.safetensors"), HasSubstr("pytorch_model.bin"))));
}

TEST(HubName, IsOrganisationNameAndPerhapsRevision) {
  EXPECT_EQ(parse_hub_name("hf-hub:openai/clip-vit-base-patch32").repository, "openai/clip-vit-base-patch32");
  EXPECT_EQ(parse_hub_name("hf-hub:a/b").revision, "main");
  EXPECT_EQ(parse_hub_name("hf-hub:a/b@refs/pr/1").revision, "refs/pr/1");
  for (const char* wrong : {"hf-hub:", "hf-hub:a", "hf-hub:a/", "hf-hub:/b", "hf-hub:a/b/c", "hf-hub:../b",
                            "hf-hub:a/..", "hf-hub:a/b@", "hf-hub:a/b@../x", "hf-hub:a/b?c", "a/b"}) {
    EXPECT_THAT([&] { parse_hub_name(wrong); }, ThrowsMessage<UsageError>(HasSubstr("hf-hub:ORGANISATION/NAME")))
        << wrong;
  }
}

std::vector<std::string> chosen_from(const std::vector<std::string>& names) {
  HubListing listing{kCommit, {}};
  for (const std::string& name : names) listing.files.push_back({name, 1, ""});
  std::vector<std::string> chosen;
  for (const HubFile& file : files_of_model(listing, "x")) chosen.push_back(file.name);
  return chosen;
}

TEST(HubListing, OfAModelGivesTheFilesThatItNeedsWithTheWeightsLast) {
  EXPECT_THAT(chosen_from({"model.safetensors", "config.json", "vocab.json", "open_clip_model.safetensors", "x.py"}),
              ElementsAre("vocab.json", "config.json", "model.safetensors"));
  EXPECT_THAT(chosen_from({"open_clip_model.safetensors", "open_clip_config.json", "tokenizer.json"}),
              ElementsAre("tokenizer.json", "open_clip_config.json", "open_clip_model.safetensors"));
  EXPECT_THAT(chosen_from({"model-00001-of-00002.safetensors", "config.json", "model.safetensors.index.json",
                           "model-00002-of-00002.safetensors", "model-/../x.safetensors"}),
              ElementsAre("config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json"));
}

TEST(HubListing, ThatIsBrokenIsRefusedWithItsName) {
  const std::string good = R"({"sha": ")" + kCommit + R"(", "siblings": [{"rfilename": "a", "size": 1}]})";
  EXPECT_EQ(parse_hub_listing(good, "x").files.at(0).name, "a");
  for (
      const char* wrong :
      {"", "[]", "{}", R"({"sha": "main", "siblings": []})", R"({"sha": 1, "siblings": []})",
       R"({"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": {}})",
       R"({"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": [1]})",
       R"({"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": [{"rfilename": "a"}]})",
       R"({"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": [{"rfilename": "a", "size": -5}]})",
       R"({"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": [{"rfilename": "a", "size": 1, "lfs": 3}]})"}) {
    EXPECT_THAT([&] { parse_hub_listing(wrong, "x"); }, ThrowsMessage<Error>(testing::StartsWith("x"))) << wrong;
  }
}

}  // namespace
}  // namespace attune
