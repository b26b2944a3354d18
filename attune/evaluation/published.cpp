#include "attune/evaluation/published.h"

namespace attune {
namespace {

constexpr PublishedScore kMultiSource[] = {
    {"zero_shot", "PACS", "average", 96.1, 0},
    {"zero_shot", "VLCS", "average", 82.3, 0},
    {"zero_shot", "OfficeHome", "average", 81.8, 0},
    {"zero_shot", "TerraIncognita", "average", 33.8, 0},
    {"zero_shot", "DomainNet", "average", 56.6, 0},
    {"coop", "PACS", "average", 96.4, 0.3},
    {"coop", "VLCS", "average", 80.8, 0.3},
    {"coop", "OfficeHome", "average", 83.0, 0.1},
    {"coop", "TerraIncognita", "average", 46.8, 0.7},
    {"coop", "DomainNet", "average", 59.5, 0.2},
    {"cocoop", "PACS", "average", 96.7, 0},
    {"cocoop", "VLCS", "average", 80.3, 0},
    {"cocoop", "OfficeHome", "average", 83.4, 0},
    {"cocoop", "TerraIncognita", "average", 45.3, 2.4},
    {"cocoop", "DomainNet", "average", 59.4, 0},
    {"dpl", "PACS", "average", 96.4, 0},
    {"dpl", "VLCS", "average", 80.9, 0},
    {"dpl", "OfficeHome", "average", 83.0, 0},
    {"dpl", "TerraIncognita", "average", 46.6, 0},
    {"dpl", "DomainNet", "average", 59.5, 0},
    {"visual_prompt", "PACS", "average", 95.8, 0},
    {"visual_prompt", "VLCS", "average", 82.2, 0},
    {"visual_prompt", "OfficeHome", "average", 81.2, 0},
    {"visual_prompt", "TerraIncognita", "average", 34.9, 0},
    {"visual_prompt", "DomainNet", "average", 56.5, 0},
    {"vpt", "PACS", "average", 96.9, 0},
    {"vpt", "VLCS", "average", 82.0, 0},
    {"vpt", "OfficeHome", "average", 83.2, 0},
    {"vpt", "TerraIncognita", "average", 46.7, 0},
    {"vpt", "DomainNet", "average", 58.5, 0},
    {"maple", "PACS", "average", 96.5, 0},
    {"maple", "VLCS", "average", 82.2, 0},
    {"maple", "OfficeHome", "average", 83.4, 0},
    {"maple", "TerraIncognita", "average", 50.2, 0.9},
    {"maple", "DomainNet", "average", 59.5, 0},
    {"spg", "PACS", "average", 97.0, 0.5},
    {"spg", "VLCS", "average", 82.4, 0.4},
    {"spg", "OfficeHome", "average", 83.6, 0.4},
    {"spg", "TerraIncognita", "average", 50.2, 1.2},
    {"spg", "DomainNet", "average", 60.1, 0.5},
};
constexpr PublishedScore kMultiSourceRn50[] = {
    {"spg", "PACS", "average", 92.8, 0},
    {"spg", "OfficeHome", "average", 73.8, 0},
    {"spg", "DomainNet", "average", 50.1, 0},
};
constexpr PublishedScore kBaseToNew[] = {
    {"zero_shot", "coop-eleven", "base", 69.34, 0},
    {"zero_shot", "coop-eleven", "new", 74.22, 0},
    {"zero_shot", "coop-eleven", "HM", 71.70, 0},
    {"coop", "coop-eleven", "base", 82.69, 0},
    {"coop", "coop-eleven", "new", 63.22, 0},
    {"coop", "coop-eleven", "HM", 71.66, 0},
    {"cocoop", "coop-eleven", "base", 80.47, 0},
    {"cocoop", "coop-eleven", "new", 71.69, 0},
    {"cocoop", "coop-eleven", "HM", 75.83, 0},
    {"ProDA", "coop-eleven", "base", 81.56, 0},
    {"ProDA", "coop-eleven", "new", 72.30, 0},
    {"ProDA", "coop-eleven", "HM", 76.65, 0},
    {"kgcoop", "coop-eleven", "base", 80.73, 0},
    {"kgcoop", "coop-eleven", "new", 73.60, 0},
    {"kgcoop", "coop-eleven", "HM", 77.00, 0},
    {"vpt", "coop-eleven", "base", 80.24, 0},
    {"vpt", "coop-eleven", "new", 73.43, 0},
    {"vpt", "coop-eleven", "HM", 76.68, 0},
    {"deep_text", "coop-eleven", "base", 81.72, 0},
    {"deep_text", "coop-eleven", "new", 73.81, 0},
    {"deep_text", "coop-eleven", "HM", 77.56, 0},
    {"ivlp", "coop-eleven", "base", 82.15, 0},
    {"ivlp", "coop-eleven", "new", 74.07, 0},
    {"ivlp", "coop-eleven", "HM", 77.90, 0},
    {"IVLP, 20 epochs", "coop-eleven", "base", 84.21, 0},
    {"IVLP, 20 epochs", "coop-eleven", "new", 71.79, 0},
    {"IVLP, 20 epochs", "coop-eleven", "HM", 77.51, 0},
    {"maple", "coop-eleven", "base", 82.28, 0},
    {"maple", "coop-eleven", "new", 75.14, 0},
    {"maple", "coop-eleven", "HM", 78.55, 0},
    {"TCP", "coop-eleven", "base", 84.13, 0},
    {"TCP", "coop-eleven", "new", 75.36, 0},
    {"TCP", "coop-eleven", "HM", 79.51, 0},
    {"promptsrc", "coop-eleven", "base", 84.26, 0},
    {"promptsrc", "coop-eleven", "new", 76.10, 0},
    {"promptsrc", "coop-eleven", "HM", 79.97, 0},
    {"CoPrompt", "coop-eleven", "base", 84.00, 0},
    {"CoPrompt", "coop-eleven", "new", 77.23, 0},
    {"CoPrompt", "coop-eleven", "HM", 80.48, 0},
    {"MMRL", "coop-eleven", "base", 85.68, 0},
    {"MMRL", "coop-eleven", "new", 77.16, 0},
    {"MMRL", "coop-eleven", "HM", 81.20, 0},
};
constexpr PublishedScore kFromImageNet[] = {
    {"coop", "ImageNet", "ImageNet", 71.51, 0},        {"coop", "ImageNet", "ImageNetV2", 64.20, 0},
    {"coop", "ImageNet", "ImageNet-Sketch", 47.99, 0}, {"coop", "ImageNet", "ImageNet-A", 49.71, 0},
    {"coop", "ImageNet", "ImageNet-R", 75.21, 0},      {"cocoop", "ImageNet", "ImageNet", 71.02, 0},
    {"cocoop", "ImageNet", "ImageNetV2", 64.07, 0},    {"cocoop", "ImageNet", "ImageNet-Sketch", 48.75, 0},
    {"cocoop", "ImageNet", "ImageNet-A", 50.63, 0},    {"cocoop", "ImageNet", "ImageNet-R", 76.18, 0},
};
constexpr PublishedScore kPlot1[] = {
    {"PLOT++", "Caltech101", "Caltech101", 94.34, 0},
    {"PLOT++", "DTD", "DTD", 54.57, 0},
    {"PLOT++", "EuroSAT", "EuroSAT", 65.41, 0},
    {"PLOT++", "FGVCAircraft", "FGVCAircraft", 28.60, 0},
    {"PLOT++", "Flowers102", "Flowers102", 80.48, 0},
    {"PLOT++", "Food101", "Food101", 86.16, 0},
    {"PLOT++", "ImageNet", "ImageNet", 66.45, 0},
    {"PLOT++", "OxfordPets", "OxfordPets", 91.89, 0},
    {"PLOT++", "StanfordCars", "StanfordCars", 68.81, 0},
    {"PLOT++", "SUN397", "SUN397", 66.77, 0},
    {"PLOT++", "UCF101", "UCF101", 74.31, 0},
};
constexpr PublishedScore kPlot2[] = {
    {"PLOT++", "Caltech101", "Caltech101", 94.69, 0},
    {"PLOT++", "DTD", "DTD", 56.72, 0},
    {"PLOT++", "EuroSAT", "EuroSAT", 76.80, 0},
    {"PLOT++", "FGVCAircraft", "FGVCAircraft", 31.14, 0},
    {"PLOT++", "Flowers102", "Flowers102", 89.81, 0},
    {"PLOT++", "Food101", "Food101", 86.33, 0},
    {"PLOT++", "ImageNet", "ImageNet", 68.28, 0},
    {"PLOT++", "OxfordPets", "OxfordPets", 92.29, 0},
    {"PLOT++", "StanfordCars", "StanfordCars", 73.17, 0},
    {"PLOT++", "SUN397", "SUN397", 68.06, 0},
    {"PLOT++", "UCF101", "UCF101", 76.76, 0},
};
constexpr PublishedScore kPlot4[] = {
    {"PLOT++", "Caltech101", "Caltech101", 95.13, 0},
    {"PLOT++", "DTD", "DTD", 62.43, 0},
    {"PLOT++", "EuroSAT", "EuroSAT", 83.21, 0},
    {"PLOT++", "FGVCAircraft", "FGVCAircraft", 35.29, 0},
    {"PLOT++", "Flowers102", "Flowers102", 92.93, 0},
    {"PLOT++", "Food101", "Food101", 86.46, 0},
    {"PLOT++", "ImageNet", "ImageNet", 70.40, 0},
    {"PLOT++", "OxfordPets", "OxfordPets", 92.55, 0},
    {"PLOT++", "StanfordCars", "StanfordCars", 76.25, 0},
    {"PLOT++", "SUN397", "SUN397", 71.73, 0},
    {"PLOT++", "UCF101", "UCF101", 79.76, 0},
};
constexpr PublishedScore kPlot8[] = {
    {"PLOT++", "Caltech101", "Caltech101", 95.51, 0},
    {"PLOT++", "DTD", "DTD", 66.49, 0},
    {"PLOT++", "EuroSAT", "EuroSAT", 88.37, 0},
    {"PLOT++", "FGVCAircraft", "FGVCAircraft", 41.42, 0},
    {"PLOT++", "Flowers102", "Flowers102", 95.44, 0},
    {"PLOT++", "Food101", "Food101", 86.58, 0},
    {"PLOT++", "ImageNet", "ImageNet", 71.31, 0},
    {"PLOT++", "OxfordPets", "OxfordPets", 93.02, 0},
    {"PLOT++", "StanfordCars", "StanfordCars", 81.26, 0},
    {"PLOT++", "SUN397", "SUN397", 73.93, 0},
    {"PLOT++", "UCF101", "UCF101", 82.80, 0},
};
constexpr PublishedScore kPlot16[] = {
    {"PLOT++", "Caltech101", "Caltech101", 96.04, 0},
    {"PLOT++", "DTD", "DTD", 71.43, 0},
    {"PLOT++", "EuroSAT", "EuroSAT", 92.00, 0},
    {"PLOT++", "FGVCAircraft", "FGVCAircraft", 46.74, 0},
    {"PLOT++", "Flowers102", "Flowers102", 97.56, 0},
    {"PLOT++", "Food101", "Food101", 87.11, 0},
    {"PLOT++", "ImageNet", "ImageNet", 72.60, 0},
    {"PLOT++", "OxfordPets", "OxfordPets", 93.59, 0},
    {"PLOT++", "StanfordCars", "StanfordCars", 84.55, 0},
    {"PLOT++", "SUN397", "SUN397", 76.03, 0},
    {"PLOT++", "UCF101", "UCF101", 85.34, 0},
};

constexpr const char* kMoe2 =
    "averages over held-out domains, ViT-B/16, from the comparison table of the MoE2 prompt paper (AAAI 2026), not "
    "from "
    "the methods' own papers";
constexpr const char* kCopies = "copies of the archive of Papers with Code, not the paper itself";
constexpr const char* kReadmes =
    "means over 11 data sets, from the read-me files of the methods' releases; KgCoOp, ProDA, TCP, CoPrompt and MMRL "
    "from "
    "the list zhengli97/Awesome-Prompt-Adapter-Learning-for-VLMs; IVLP with 5 epochs unless it says 20";
constexpr const char* kList = "the list zhengli97/Awesome-Prompt-Adapter-Learning-for-VLMs";
constexpr const char* kPlotReadme = "the read-me file of the release CHENGY12/PLOT (PLOT++)";

constexpr PublishedTable kTables[] = {
    {"dg-multi", "ViT-B/16", 0, kMoe2, kMultiSource},      {"dg-multi", "RN50", 0, kCopies, kMultiSourceRn50},
    {"base-to-new", "ViT-B/16", 16, kReadmes, kBaseToNew}, {"cross-dataset", "ViT-B/16", 16, kList, kFromImageNet},
    {"few-shot", "ViT-B/16", 1, kPlotReadme, kPlot1},      {"few-shot", "ViT-B/16", 2, kPlotReadme, kPlot2},
    {"few-shot", "ViT-B/16", 4, kPlotReadme, kPlot4},      {"few-shot", "ViT-B/16", 8, kPlotReadme, kPlot8},
    {"few-shot", "ViT-B/16", 16, kPlotReadme, kPlot16},
};

}  // namespace

std::span<const PublishedTable> published_tables() {
  return kTables;
}

}  // namespace attune
