// Metrics of one list of scored items. Ties never help the model: among equal scores items that are
// not liked rank first; in the AUC a tie counts one half, as in the Mann-Whitney statistic. A
// metric that is undefined for a list (no like, or nothing but likes) is NaN, and averages leave it
// out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mettle {

/// Whether an item of the list is relevant ("liked"): 0 or 1 each, parallel to the scores.
using Likes = std::span<const std::uint8_t>;

/// `likes` in the order of falling score, ties against the model. ValueError for a NaN score or for
/// lengths that differ; so do all functions below.
std::vector<std::uint8_t> ranked_likes(std::span<const double> scores, Likes likes);

/// Probability that a liked item scores above one that is not, ties one half. NaN without both.
double auc(std::span<const double> scores, Likes likes);

// The ranking metrics take the outcome of ranked_likes; `k` is at least 1 and may exceed the
// length.

/// Normalised discounted cumulative gain: gain 1 per like, discount 1 / log2(1 + rank), over the
/// best possible order (Jarvelin and Kekalainen 2002). NaN without a like.
double ndcg_at(Likes ranked, int k);
/// Share of likes among the first k; places behind the end of the list count as not liked.
double precision_at(Likes ranked, int k);
/// 1 / rank of the first like when it stands within the first k, else 0. NaN without a like.
double reciprocal_rank_at(Likes ranked, int k);
/// 1 when one of the first k is liked, else 0. NaN without a like.
double hit_rate_at(Likes ranked, int k);

/// Mean of -log p(like or not), probabilities clipped to [1e-6, 1 - 1e-6].
double log_loss(std::span<const double> probabilities, Likes likes);
/// Mean of |prediction - truth| in stars, predictions clipped to [low, high].
double mean_absolute_error(std::span<const double> predictions, std::span<const double> stars,
                           double low, double high);

}  // namespace mettle
