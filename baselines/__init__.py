"""Transferability estimates besides CC-FV, one a file: a function of samples, one of statistics, and a metric class."""

from baselines.controls import parameters_score, random_score, source_cases_score, source_dice_score, static_leaderboard
from baselines.crank import CRank, crank_hamming, crank_map, crank_mask, crank_mean, crank_score
from baselines.e_leep import e_leep_score
from baselines.eep import EEP, eep_from_joint, eep_score
from baselines.etran_energy import EtranEnergy, etran_energy_from_logits, etran_energy_score
from baselines.gbc import GBC, gbc_from_moments, gbc_score
from baselines.grtd import GRTD, grtd_from_samples, grtd_score
from baselines.hscore import HScore, h_score, h_score_from_moments
from baselines.iou_eep import IoUEEP, iou_eep_from_samples, iou_eep_from_softmax, iou_eep_score
from baselines.knn import KNN, knn_from_samples, knn_score
from baselines.lbtc import LBTC, lbtc_from_points, lbtc_score
from baselines.lda import LDA, lda_from_samples, lda_score
from baselines.leep import LEEP, leep_from_samples, leep_from_softmax, leep_score
from baselines.logme import LogME, logme_from_moments, logme_score
from baselines.ms_leep import ms_leep_of, ms_leep_score
from baselines.nce import NCE, nce_from_joint, nce_score
from baselines.ncti import NCTI, combine_ncti, ncti_from_samples, ncti_score
from baselines.nleep import NLEEP, nleep_from_samples, nleep_score
from baselines.otce import OTCE, OtceElements, otce_elements, otce_from_samples, otce_score
from baselines.parc import PARC, parc_from_samples, parc_score
from baselines.ped import PED, ped_from_samples, ped_score
from baselines.regularized_hscore import RegularizedHScore, regularized_h_score, regularized_h_score_from_moments
from baselines.sfda import SFDA, sfda_from_samples, sfda_score
from baselines.soft_iou_eep import SoftIoUEEP, soft_iou_eep_from_joint, soft_iou_eep_score
from baselines.tmi import TMI, tmi_from_moments, tmi_score
from baselines.transrate import TransRate, transrate_from_moments, transrate_score
from baselines.zero_shot_dice import ZeroShotDice, zero_shot_dice_from_joint, zero_shot_dice_score

__all__ = [
    "EEP",
    "GBC",
    "GRTD",
    "KNN",
    "LBTC",
    "LDA",
    "LEEP",
    "NCE",
    "NCTI",
    "NLEEP",
    "OTCE",
    "PARC",
    "PED",
    "SFDA",
    "TMI",
    "CRank",
    "EtranEnergy",
    "HScore",
    "IoUEEP",
    "LogME",
    "OtceElements",
    "RegularizedHScore",
    "SoftIoUEEP",
    "TransRate",
    "ZeroShotDice",
    "combine_ncti",
    "crank_hamming",
    "crank_map",
    "crank_mask",
    "crank_mean",
    "crank_score",
    "e_leep_score",
    "eep_from_joint",
    "eep_score",
    "etran_energy_from_logits",
    "etran_energy_score",
    "gbc_from_moments",
    "gbc_score",
    "grtd_from_samples",
    "grtd_score",
    "h_score",
    "h_score_from_moments",
    "iou_eep_from_samples",
    "iou_eep_from_softmax",
    "iou_eep_score",
    "knn_from_samples",
    "knn_score",
    "lbtc_from_points",
    "lbtc_score",
    "lda_from_samples",
    "lda_score",
    "leep_from_samples",
    "leep_from_softmax",
    "leep_score",
    "logme_from_moments",
    "logme_score",
    "ms_leep_of",
    "ms_leep_score",
    "nce_from_joint",
    "nce_score",
    "ncti_from_samples",
    "ncti_score",
    "nleep_from_samples",
    "nleep_score",
    "otce_elements",
    "otce_from_samples",
    "otce_score",
    "parameters_score",
    "parc_from_samples",
    "parc_score",
    "ped_from_samples",
    "ped_score",
    "random_score",
    "regularized_h_score",
    "regularized_h_score_from_moments",
    "sfda_from_samples",
    "sfda_score",
    "soft_iou_eep_from_joint",
    "soft_iou_eep_score",
    "source_cases_score",
    "source_dice_score",
    "static_leaderboard",
    "tmi_from_moments",
    "tmi_score",
    "transrate_from_moments",
    "transrate_score",
    "zero_shot_dice_from_joint",
    "zero_shot_dice_score",
]
