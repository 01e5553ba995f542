"""Which of our functions computes an entry, from the entry's kind, method, parameters and input arrays alone."""

import re
from collections.abc import Callable, Mapping

import numpy as np
import torch

import analysis
import baselines as ours
from baselines.grtd import grtd_from_samples
from baselines.inputs.arrays import read_samples
from baselines.ncti import ncti_from_samples
from baselines.sfda import sfda_from_samples
from benchmark import ccfv

Arrays = Mapping[str, np.ndarray]
Params = Mapping[str, object]
Adapter = Callable[[Arrays, Params], object]

FIXED_POINT = {"form": "fixed_point", "tol": 1e-3, "max_iter": 11, "eps": 1e-5}
ICML = {"form": "icml", "tol": 1e-2, "max_iter": 11}
# What the formula variants of CC-FV keep two voxels apart by, and over how many rows the released variety is taken
FLOOR = 1e-12
VARIETY_ROWS = 40
LABEL = re.compile(r"label(\d+)")
FEATURES = re.compile(r"feat__(?P<layer>\w+?)__case(?P<case>\d+)__label(?P<label>\d+)")


def of_features(score: Callable[..., float], **fixed: object) -> Adapter:
    return lambda arrays, params: score(arrays["X"], arrays["y"], **fixed)


def of_softmax(score: Callable[..., float]) -> Adapter:
    return lambda arrays, params: score(arrays["P"], arrays["y"])


def gbc(arrays: Arrays, params: Params) -> float:
    pca = params.get("pca")
    return ours.gbc_score(
        arrays["X"],
        arrays["y"],
        gaussian=params["gaussian_type"],
        var_floor=params.get("var_floor", 1e-4),
        pca=None if pca is None else min(pca, arrays["X"].shape[1]),
    )


def nleep(arrays: Arrays, params: Params) -> float:
    components = params.get("num_components_gmm", 5 * len(np.unique(arrays["y"])))
    seed = params.get("random_state", 123)
    return ours.nleep_score(arrays["X"], arrays["y"], pca=params["pca"], components=components, random_state=seed)


def energy(arrays: Arrays, params: Params) -> float:
    return ours.etran_energy_score(arrays["logits"], percent=params["percent"], tail=params["tail"])


def ncti_triplet(features: np.ndarray, labels: np.ndarray, pca: int = 64) -> list[float]:
    parts = ncti_from_samples(read_samples(features, labels), pca=pca).parts
    return [parts[name] for name in ("seli", "ncc", "vc")] if parts else [np.nan] * 3


def ncti(arrays: Arrays, params: Params) -> list[float]:
    return ncti_triplet(arrays["X"], arrays["y"], pca=params["pca"])


def otce(arrays: Arrays, params: Params) -> list[float]:
    """The released demo takes the first samples of each, as its parameters spell out, in float32."""
    source, target = (int(re.search(r"\[:(\d+)\]", str(params[side])).group(1)) for side in ("src", "tgt"))
    elements = ours.otce_elements(
        arrays["G_source_features"][:source].astype(np.float32),
        arrays["otce_src_y"][:source],
        arrays["X"][:target].astype(np.float32),
        arrays["y"][:target],
    )
    return [elements.distance, elements.conditional_entropy]


def ped(arrays: Arrays, params: Params) -> float:
    base = {"LOGME": "logme", "SFDA": "sfda"}[params["type"]]
    return ours.ped_score(arrays["X"], arrays["y"], arrays["G_source_features"], base=base)


def first_stage(arrays: Arrays, params: Params) -> list[float]:
    parts = sfda_from_samples(read_samples(arrays["X"], arrays["y"])).parts
    return [parts["shrinkage"], parts["first"]]


VECTOR: dict[str, Adapter] = {
    "thuml_logme_fixed_point": of_features(ours.logme_score, **FIXED_POINT),
    "thuml_logme_icml": of_features(ours.logme_score, **ICML, eps=1e-5),
    "tllib_log_maximum_evidence": of_features(ours.logme_score, **ICML, eps=0),
    "sfda_logme": of_features(ours.logme_score, **FIXED_POINT),
    "st_logme": of_features(ours.logme_score, form="fixed_point", tol=1e-2, max_iter=11, eps=1e-5),
    "thuml_leep": of_softmax(ours.leep_score),
    "tllib_leep": of_softmax(ours.leep_score),
    "parc_leep": of_softmax(ours.leep_score),
    "st_leep": of_softmax(ours.leep_score),
    "st_leep_hard": lambda arrays, params: ours.leep_score(
        np.eye(arrays["P"].shape[1])[arrays["P"].argmax(axis=1)], arrays["y"]
    ),
    "thuml_nce": of_softmax(ours.nce_score),
    "tllib_nce": of_softmax(ours.nce_score),
    "tllib_h_score": of_features(ours.h_score),
    "parc_hscore_fast": of_features(ours.h_score),
    "parc_hscore_published": of_features(ours.h_score),
    "st_hscore_matmul_fixed": of_features(ours.h_score),
    "tllib_regularized_h_score": of_features(ours.regularized_h_score),
    "transformer_ranker_hscore": of_features(ours.regularized_h_score),
    "sfda_score": of_features(ours.sfda_score),
    "sfda_first_stage": first_stage,
    "etran_lda_score": of_features(ours.lda_score),
    "parc_parc_ndims_none": of_features(ours.parc_score),
    "parc_parc_ndims_32": of_features(ours.parc_score, pca=32),
    "pert_parc_ratio2": of_features(ours.parc_score, pca=32),
    "parc_knn_k1": lambda arrays, params: 100 * ours.knn_score(arrays["X"], arrays["y"], k=1),
    "parc_knn_k5": lambda arrays, params: 100 * ours.knn_score(arrays["X"], arrays["y"], k=5, released_ties=True),
    "ncti_raw_triplet": ncti,
    "ped_logme": ped,
    "ped_sfda": ped,
    "otce_W_CE": otce,
    "st_nleep_pca80": nleep,
    "st_nleep_raw": nleep,
}
VECTOR_FAMILIES: dict[str, Adapter] = {
    r"tllib_transrate_eps.*": lambda arrays, params: ours.transrate_score(arrays["X"], arrays["y"], eps=params["eps"]),
    r"st_gbc_.*": gbc,
    r"etran_energy_.*": energy,
}


def layers_of(arrays: Arrays) -> dict[str, ccfv.LayerSamples]:
    """The sampled features of each layer, in the order of the layers' names; a case's scene is all of its samples."""
    layers: dict[str, dict[int, dict[int, torch.Tensor]]] = {}
    for key, values in arrays.items():
        if match := FEATURES.fullmatch(key):
            case = layers.setdefault(match["layer"], {}).setdefault(int(match["case"]), {})
            case[int(match["label"])] = torch.as_tensor(values)
    return {
        name: ccfv.LayerSamples(
            [cases[case] for case in sorted(cases)],
            [torch.cat([cases[case][label] for label in sorted(cases[case])]) for case in sorted(cases)],
        )
        for name, cases in sorted(layers.items())
    }


def variant(method: str) -> dict[str, object]:
    """The parameters that the name of a formula variant ends in."""
    space, energy = re.fullmatch(r".*_(raw|unit)_(sum|mean)", method).groups()
    return {"space": space, "energy": energy, "floor": FLOOR}


def of_ccfv(method: str, arrays: Arrays, params: Params) -> object:
    layers = layers_of(arrays)
    if method == "ccfv_as_shipped":
        return ccfv.ccfv_released_score(layers.values())
    if scaled := re.fullmatch(r"ccfv_as_shipped_features_times_(\d+)", method):
        times = float(scaled[1])
        return ccfv.ccfv_released_score(layers_of({key: times * array for key, array in arrays.items()}).values())
    if method.startswith("ccfv_paperC_inverseEnergy_"):
        return ccfv.ccfv_score(layers.values(), **variant(method))
    name, _, output = method.partition("__")
    layer = layers[name]
    if output == "w2_matrix":
        return np.stack([matrix.numpy() for _, matrix in sorted(ccfv.layer_distances(layer).items())])
    if output == "C_cons_paper":
        return ccfv.class_consistency(layer).value
    if output.startswith("Fv_inverse_energy_"):
        return ccfv.feature_variety(layer.scenes, **variant(output))
    parts = ccfv.ccfv_released_from_layers([layer]).parts
    return {"var_f_code": parts["var_f_1"], "w_distance_code": parts["w_1"]}[output]


def of_pair(method: str, arrays: Arrays, params: Params) -> float:
    name, number = re.fullmatch(r"(w2_pair|variety_a)(\d+)", method).groups()
    if name == "variety_a":
        return ccfv.released_variety(arrays[f"a{number}"][:VARIETY_ROWS])
    return ccfv.gaussian_wasserstein2(arrays[f"a{number}"], arrays[f"b{number}"])


def labelled(arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """The arrays label0, label1, ... as features and labels."""
    rows = sorted((int(match[1]), values) for key, values in arrays.items() if (match := LABEL.fullmatch(key)))
    return np.concatenate([values for _, values in rows]), np.repeat(*zip(*((i, len(v)) for i, v in rows), strict=True))


def of_topology(method: str, arrays: Arrays, params: Params) -> float:
    if method == "lbtc_as_shipped":
        return ours.lbtc_score(*labelled(arrays), arrays["boundary_features"], arrays["boundary_labels"])
    score = grtd_from_samples(read_samples(*labelled(arrays)))
    values = {"cross_class_edge_fraction_full_mst": score.parts["crossing"], "grtd_full_mst_formula": score.value}
    values |= {"grtd_as_shipped": score.value, "mst_weight_prim": score.parts["tree_length"]}
    return (values | {"mst_weight_scipy": score.parts["tree_length"]})[method]


CRANK = {
    "DifferenceImageEval": "difference",
    "EffectiveInvarianceEval": "effective_invariance",
    "EntropyEval": "entropy",
    "KLDivergenceEval": "kl_divergence",
    "CrossEntropyEval": "cross_entropy",
}


def of_crank(method: str, arrays: Arrays, params: Params) -> object:
    pair = arrays["unperturbed"], arrays["perturbed"]
    if method == "mask_union":
        return ours.crank_mask(*pair)
    if method == "hamming_masked":
        return ours.crank_hamming(*pair)
    evaluator, _, output = method.partition("_")
    function = {"map": ours.crank_map, "masked_mean": ours.crank_mean}[output]
    return function(*pair, measure=CRANK[evaluator])


AGREEMENT: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "pearson": analysis.pearson,
    "kendall": analysis.kendall,
    "topo_kendall_tau_b": analysis.kendall,
    "weighted_kendall": analysis.weighted_kendall,
    "weightedtau_rank_None": lambda score, dice: analysis.weighted_kendall(score, dice, rank=None),
    "weightedtau_rank_False": lambda score, dice: analysis.weighted_kendall(score, dice, rank=False),
    "weightedtau_swapped": lambda score, dice: analysis.weighted_kendall(dice, score),
    "spearman_scipy": analysis.spearman,
    "top1_regret": analysis.top1_regret,
}


def of_evaluation(method: str, arrays: Arrays, params: Params) -> float:
    if top := re.fullmatch(r"rel_(\d+)", method):
        return analysis.rel_at_k(arrays["score"], arrays["performance"], k=int(top[1]))
    return AGREEMENT[method](arrays["score"], arrays["performance"])


def of_pool(method: str, arrays: Arrays, params: Params) -> list[list[float]] | list[float]:
    names = sorted((key for key in arrays if re.fullmatch(r"X\d+", key)), key=lambda key: int(key[1:]))
    if method == "ncti_triplets":
        return [ncti_triplet(arrays[name], arrays["y"]) for name in names]
    scores = {name: ncti_from_samples(read_samples(arrays[name], arrays["y"])) for name in names}
    return [{"ncti_pool_score": ours.combine_ncti(scores)}[method][name].value for name in names]


def of_vector(method: str, arrays: Arrays, params: Params) -> object:
    families = (adapter for pattern, adapter in VECTOR_FAMILIES.items() if re.fullmatch(pattern, method))
    return (VECTOR.get(method) or next(families))(arrays, params)


KINDS = {
    "vector": of_vector,
    "ccfv": of_ccfv,
    "w2pairs": of_pair,
    "topo": of_topology,
    "crank": of_crank,
    "evaluation": of_evaluation,
    "pool": of_pool,
}


def has_adapter(kind: str, method: str) -> bool:
    """Whether we compute something to set beside an entry that is not required."""
    known = {"topo": ("grtd", "lbtc", "mst_weight", "cross"), "evaluation": tuple(AGREEMENT), "ccfv": ("dec",)}
    if kind == "vector":
        return method in VECTOR
    return method.startswith(known.get(kind, ()))


def compute(kind: str, method: str, arrays: Arrays, params: Params) -> np.ndarray:
    """Our value of an entry."""
    return np.asarray(KINDS[kind](method, arrays, params), dtype=np.float64)
