"""Transferability estimates besides CC-FV, one a file: a function of samples, one of statistics, and a metric class."""

from baselines.eep import EEP, eep_from_joint, eep_score
from baselines.gbc import GBC, gbc_from_moments, gbc_score
from baselines.hscore import HScore, h_score, h_score_from_moments
from baselines.knn import knn_score
from baselines.lda import lda_score
from baselines.leep import leep_from_softmax, leep_score
from baselines.logme import LogME, logme_from_moments, logme_score
from baselines.nce import NCE, nce_from_joint, nce_score
from baselines.parc import parc_score
from baselines.regularized_hscore import RegularizedHScore, regularized_h_score, regularized_h_score_from_moments
from baselines.sfda import sfda_score
from baselines.soft_iou_eep import SoftIoUEEP, soft_iou_eep_from_joint, soft_iou_eep_score
from baselines.tmi import TMI, tmi_from_moments, tmi_score
from baselines.transrate import TransRate, transrate_from_moments, transrate_score

__all__ = [
    "EEP",
    "GBC",
    "NCE",
    "TMI",
    "HScore",
    "LogME",
    "RegularizedHScore",
    "SoftIoUEEP",
    "TransRate",
    "eep_from_joint",
    "eep_score",
    "gbc_from_moments",
    "gbc_score",
    "h_score",
    "h_score_from_moments",
    "knn_score",
    "lda_score",
    "leep_from_softmax",
    "leep_score",
    "logme_from_moments",
    "logme_score",
    "nce_from_joint",
    "nce_score",
    "parc_score",
    "regularized_h_score",
    "regularized_h_score_from_moments",
    "sfda_score",
    "soft_iou_eep_from_joint",
    "soft_iou_eep_score",
    "tmi_from_moments",
    "tmi_score",
    "transrate_from_moments",
    "transrate_score",
]
