// Polynomials that the kernels of every device evaluate: Chebyshev interpolants of the functions
// named at each table, computed with 50 digits by scripts/fit_polynomials.py; lowest power first.
#pragma once

namespace mettle::kernels {

/// log1p(z) / z on [0, 1].
template <class A> struct Log1pTable;
template <> struct Log1pTable<float> {
  static constexpr float coefficients[] = {
      0.9999999947f,  -0.4999989265f, 0.333297105f,    -0.2495161626f, 0.1966327426f,
      -0.1526966707f, 0.105436238f,   -0.05637361283f, 0.01954252726f, -0.003176057018f,
  };
};
template <> struct Log1pTable<double> {
  static constexpr double coefficients[] = {
      1.0,
      -0.4999999999999999463,
      0.3333333333333230075,
      -0.2499999999992065679,
      0.1999999999675100812,
      -0.1666666658459417665,
      0.1428571288895741686,
      -0.1249998302207151998,
      0.1111095751955916205,
      -0.09998934118889750978,
      0.09085103212732548117,
      -0.08308064535418227409,
      0.07603176652084890821,
      -0.06885051648315304657,
      0.06048910108495288155,
      -0.05011620759034932713,
      0.0378336133373768759,
      -0.02507803322335278611,
      0.01404743839338194325,
      -0.006380503621276233475,
      0.002235825341515650087,
      -0.0005634114165531064314,
      0.00009044634726814631752,
      -6.925035095690703746e-6,
  };
};

/// (a + k) exp(a^2 / 2) Phi(-a) as a polynomial in q = (a - k) / (a + k), for a from 0 to
/// `largest`. The idea of the variable q is Shepherd and Laframboise's, "Chebyshev approximation of
/// (1 + 2x) exp(x^2) erfc x in 0 <= x < infinity", Math. Comp. 36, 1981. Relative error of the
/// tables: 2.5e-8 and 9e-18.
template <class A> struct NormalTailTable;
template <> struct NormalTailTable<float> {
  static constexpr float k = 3.72f, largest = 15;
  static constexpr float coefficients[] = {
      0.7496392271f,   -0.5856367763f,  0.3486173407f,    -0.1472759072f,   0.03490788745f,
      0.002018106086f, -0.00410439635f, 0.0003884527383f, 0.0004338565236f,
  };
};
template <> struct NormalTailTable<double> {
  static constexpr double k = 5.5, largest = 40;
  static constexpr double coefficients[] = {
      0.7737696342764067683,     -0.6851834205743380459,     0.5355964890624944304,
      -0.3670490652936260603,    0.2178724328579689388,      -0.1097030899585439823,
      0.04509758081477901328,    -0.01392351056790544757,    0.002442982674835068351,
      0.0002696040163971622166,  -0.0003245226482919879128,  0.0000714147873924969293,
      0.00001631994981280175908, -0.00001211874351264859644, 4.464668015506796665e-7,
      1.483647689425389409e-6,   -2.679978329902206757e-7,   -1.774510651697809779e-7,
      5.047153798064133591e-8,   2.293373088804878241e-8,    -5.741271549765598143e-9,
      -2.608978607279930923e-9,
  };
};

}  // namespace mettle::kernels
