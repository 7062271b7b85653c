// The C++ of the README and of pages in docs/, so that it compiles and says what is true.
// The lint test holds the pages against this file: each paragraph of their code stands in it.
// Ends with 1 when a result is not what the page promises.
#include <mettle/kernels/attention.h>
#include <mettle/mettle.h>
using namespace mettle;

#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>

namespace {

bool report(const char* what, bool ok) {
  std::printf("%-40s %s\n", what, ok ? "ok" : "WRONG");
  return ok;
}

bool ten_lines() {
  // Adapt w to a task by one step of gradient descent, then differentiate through that step.
  const Variable w(Tensor::from(std::vector<double>{0.5}, {}), true);
  const Variable inner = 0.5 * square(w - 2.0);
  const Variable adapted = w - 0.25 * grad(inner, {w}, {.create_graph = true})[0];
  const Variable outer = 0.5 * square(adapted + 1.0);
  const double meta_gradient = grad(outer, {w})[0].item();  // exact, second order

  // (1 - a) (w' + 1) with w' = w - a (w - 2).
  return report("README", std::abs(meta_gradient - 0.75 * (0.5 + 0.25 * 1.5 + 1.0)) < 1e-15);
}

bool weights_are_arguments() {
  Generator random(1);
  const Variable x = normal({5, 3, 64}, random.next_key());

  const Linear head("head", 64, 1);
  Params params;
  head.init(params, random);           // adds head.weight (64, 1) and head.bias (1)
  const Variable y = head(params, x);  // (..., 64) -> (..., 1)

  return report("weights are arguments", params["head.weight"].shape() == Shape{64, 1} &&
                                             params["head.bias"].shape() == Shape{1} &&
                                             y.shape() == Shape{5, 3, 1});
}

// Tasks y = a x of one number each, adapted together: the losses are sums over tasks.
bool adapt_and_meta_gradient() {
  constexpr std::int64_t tasks = 7;
  Generator random(1);
  const Linear head("head", 4, 1);
  Params params;
  head.init(params, random);
  const Variable support_x = normal({tasks, 9, 4}, random.next_key());
  const Variable slopes = normal({tasks, 4, 1}, random.next_key());
  const Variable support_y = matmul(support_x, slopes);
  const LossFunction support_loss = [&](const Params& p) {
    return sum(square(head(p, support_x) - support_y));
  };
  const LossFunction query_loss = support_loss;

  const Params rates = inner_rates(params, 0.01);
  const AdaptOptions options{.steps = 5, .tasks = tasks};
  const Params adapted = adapt(params, rates, support_loss, options);  // w <- w - rate dL/dw
  const MetaGradient g = meta_gradient(params, rates, support_loss, query_loss, options);

  const double before = query_loss(params).item(), after = query_loss(adapted).item();
  bool ok = adapted["head.weight"].shape() == Shape{tasks, 4, 1} && after < before &&
            std::abs(g.loss.item() - after) < 1e-4 * after &&
            g.parameters["head.weight"].shape() == Shape{4, 1};

  // What the table of choices names.
  const auto is_head = [](std::string_view name) { return name.starts_with("head."); };
  ok = ok && inner_rates(params, 0.01, is_head).size() == 2;
  for (const AdaptOptions& other :
       {AdaptOptions{.steps = 5, .order = MetaOrder::first, .tasks = tasks},
        AdaptOptions{.steps = 5, .memory = MetaMemory::recomputed, .tasks = tasks}}) {
    const MetaGradient same = meta_gradient(params, rates, support_loss, query_loss, other);
    ok = ok && std::abs(same.loss.item() - g.loss.item()) < 1e-4 * after;
  }
  const std::vector<TaskGroup> groups = {{support_loss, query_loss}};
  ok = ok && meta_gradient(params, rates, groups, options).loss.defined();
  const Variable features = support_x, targets = support_y, penalty = full({}, 1e-3);
  ok = ok && ridge_regression(features, targets, penalty).shape() == Shape{tasks, 4, 1};
  return report("adapt and meta_gradient", ok);
}

// One head with one query and two keys that score alike: P = (1/2, 1/2), and q moves by d.
bool tangent_of_attention() {
  using namespace mettle::kernels;
  const double q_data[] = {0.0}, k_data[] = {1.0, -1.0}, v_data[] = {3.0, 1.0}, d = 0.5;
  double out_data[1], lse[1], tangent_data[1];
  AttentionProblem problem;
  problem.dtype = DType::f64;
  problem.batch = problem.heads = problem.queries = problem.head_dim = problem.value_dim = 1;
  problem.keys = 2;
  const AttentionIn q{q_data, 1, 1, 1}, k{k_data, 2, 2, 1}, v{v_data, 2, 2, 1};
  const AttentionIn tangent_q{&d, 1, 1, 1};
  const AttentionOut out{out_data, 1, 1, 1}, tangent_out{tangent_data, 1, 1, 1};
  const Stream stream = current_stream(Device::cpu());

  attention_forward(stream, {problem, q, k, v, out, lse});

  AttentionJvpArgs moved;
  moved.problem = problem;
  moved.q = q;
  moved.k = k;
  moved.v = v;
  moved.out = {out.data, out.batch, out.head, out.row};
  moved.lse = lse;
  moved.tangent_q = tangent_q;  // k and v stay where they are
  moved.tangent_out = tangent_out;
  attention_jvp(stream, moved);

  // S = (q, -q), so dP = P o (U - u) = (d, -d) / 2, and out = 2 moves by 3 d / 2 - d / 2.
  return report("tangent of attention",
                std::abs(out_data[0] - 2) < 1e-12 && std::abs(tangent_data[0] - d) < 1e-12);
}

// A folder as others publish it, made here from a small encoder.
bool pretrained_encoder() {
  BertOptions options;
  options.vocabulary = 100;
  options.positions = 16;
  options.encoder = {.dim = 16, .heads = 2, .hidden = 32, .norm = EncoderOptions::Norm::after};
  Params params;
  Generator random(1);
  Bert(options).init(params, random);
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / "mettle_snippets_encoder";
  save_bert(folder, {BertFamily::bert, options, params});
  const Variable ids = randint({2, 5}, random.next_key(), 1, 100);
  const Variable valid(
      Tensor::from(std::vector<std::uint8_t>{1, 1, 1, 1, 1, 1, 1, 0, 0, 0}, {2, 5}));

  const PretrainedBert model = load_bert(folder);  // weights in f32; load_bert(folder, DType::bf16)
  const Bert bert(model.options);
  const Variable hidden = bert(model.params, {.ids = ids, .valid = valid});  // (B, N, dim)
  const Variable sentence = mean_pooling(hidden, valid);                     // (B, dim)

  std::filesystem::remove_all(folder);
  return report("pretrained encoder",
                hidden.shape() == Shape{2, 5, 16} && sentence.shape() == Shape{2, 16});
}

// A vocabulary of a few words.
bool text_to_ids() {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / "mettle_snippets_tokenizer";
  std::filesystem::create_directories(folder);
  write_file(folder / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nfilm\n##s\nplay\n##ing\n.\n");

  const Tokenizer tokenizer = load_vocab(folder / "vocab.txt");  // or load_tokenizer_json()
  const Encoding one = tokenizer.encode("Playing films.", {.max_length = 128});
  const Encoding two = tokenizer.encode(TextPair{"a film", "films"});  // type ids 0 and 1
  const std::string text = tokenizer.decode(one.ids);                  // "playing films."

  const std::vector<std::string_view> lines = {"a film", "Playing films."};
  const TokenBatch batch = tokenizer.pad(tokenizer.encode_batch(lines));  // on all threads
  const Variable mask(batch.mask);  // (B, N), EncoderInput::key_padding

  std::filesystem::remove_all(folder);
  return report("text to ids", one.ids == std::vector<std::int32_t>{2, 7, 8, 5, 6, 9, 3} &&
                                   two.type_ids == std::vector<std::int32_t>{0, 0, 0, 0, 1, 1, 1} &&
                                   text == "playing films." && batch.ids.shape() == Shape{2, 7} &&
                                   mask.shape() == Shape{2, 7});
}

}  // namespace

int main() {
  try {
    bool ok = ten_lines();
    ok = weights_are_arguments() && ok;
    ok = adapt_and_meta_gradient() && ok;
    ok = tangent_of_attention() && ok;
    ok = pretrained_encoder() && ok;
    ok = text_to_ids() && ok;
    return ok ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
