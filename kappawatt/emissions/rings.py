"""Names of the journal's keys, which go to the worker that has the key whose messages they keep, for 1–8 workers."""

import string
from dataclasses import asdict

from kappawatt.emissions.names import SHARDS, ZONES
from kappawatt.emissions.packing import pack, pack_zones, unpack, unpack_zones
from kappawatt.ledger.config import LedgerConfig
from kappawatt.stream.job import Job
from kappawatt.stream.journal import Journal, Ring, journaled

ALPHABET = string.ascii_letters + string.digits + "!#$%&()*+,-:;<=>?@[]^_{|}~"

# By key two letters for its base and each of its slots: found by benchmarks/make_names.py. Never changed within a
# STATE_VERSION.
_SHARD_LETTERS = (
    "hze3cweIc]wfd-dDeXevkVlJewc4zSkUa+ezeCaWvSBhc[aqc?bJa~iVa:xxkCg?HEmieNj_bPCnfUk#q%cyeNkpaAgce>aMps",
    "g@hRk|btb8oDdumaeyk|AwuJu{w2i_ece|bsxJeEl1exarbge+x[kDbRi-n-b}oQe@n-nngclZf<c2g6v>e%Xdf~auB2k[c,lG",
    "eKd;f9eFh-m}t?h&o=eNb]r8l#a3hGf&e3zMdgq?d=e4c^oqc=ftkacZprCtaPd(rbigc{p_b8yuc[hgf8a1gNi^Ejk|gtzhp~",
    "e4v+b_czb4fDazk_eVkuchdYiwdjdya%jQb!a<iff8grvddRk*q|QBjFi[f3fZcQd;p~cxp!nleBbIcTiib7dik!lmc%a=a2qj",
    "aDvuIta=cHATCZqwgtdnjWcGjXq>ovf7ame9r{oKdId@DfI7rDeol6omuii8i2fOf9nQaBb1yDgZi=g3Bvmhrnbslxp4h)d!a#",
    "h^bVb5b~a:mEhXgfgIK2aAkcwubHh<s|r(oYeZb(gRcQaOoRdCzWuZnIgvg?hOr_lnnYulbrHugTb9cOq+v|d(f0kQdkm%wiC!",
    "ExedaGw5aWs?loa[n}cmbAhda5a&jOb9i?gbjsj<c>aadGg$dTk~xXgsn7bPcEazbng9ihlZibddbQWUlGuWc5gJc?t_eswEdj",
    "i,B7jFnNb_i3a{x<a-hIfdm7fehcmla~g~dFhscjo|xEdul$dAc?d]dZf|x6qCkflKFBn:pih@xHq<c+vru9f*d5wdn<j{eza~",
    "e,g}bwdNw|oIf-hUanW=eMfyeFjgcDBcc?onk1egc2tAxfAhlzdsfTmjm7n?BzedcLmb!sBOonbSe;dZFwn[bHhqbdi:iwizd,",
    "dql,hMgchAk_f!laiQtkoYl^eVp]jad)l6g>naa7hdbJaqjAfXlycfnSf$zvd6badXvKo8kwcGblptb8gSwxsTr~idiqc~pLri",
    "iuhUluc;aNeMimclsVhofKa$aFaTc*fypZc0ivkoaLipgZgcE=refKaxbgb+b[eJm(g^kOdrEelkk>l*v=nppHgKwNo-h6eet$",
    "aMj5b?lQbtkaxCc]x<b)bZE[fFb*bff4bKaKhIcFchp#lKhNdWcihpb*i$e8ppg4fKa2bga^fgbdfvhZgSiIi%gcsLcUM)c-aA",
    "cAbTn{hXhDf7i}g0dQwwoSbymdaQa<ioi?b[aEc_u-cebdd1q8a5y4fXoQgvcpy4fBd{dad%bda9A]kIaivGeuh6o6A7x@B(Ez",
    "cPe|njied^jyhnd}wRf=cEjmj-bKcub4n50Mq9x>aSouemb[h3eWnftOb=aOx!elenUCg+c&JMclkZf2aVbacFf^c0h1e@blg<",
    "cmlrExgQa-tLbngUcNahkrcKQZr0psp-ekjti7i@bCe;clbKa$p]QJhua&fBeBbxe<i>fVtVl=hwd3njm!cahft}gzq~yAcXgs",
    "frfef7c@sHmFA^p-v]e4l6a0gsbOjYhoaeeGq[a{A*mZfbg)dueip2iae~eFgmdKu911FEf:mehum%myh0fuEEhvk+i%mBc8aj",
)
_ZONE_LETTERS = (
    "k-bFqUmxlopRe;fOjodnf8n,f[i_s[f=qDkGmVb-d#gqh(sXbRz*xSQ*j>kya(gof+hDb!ruaQB-nceObQm<iednpBpBapuyz?",
    "gjBcc{g8mPfpCNa7fmctBTn5jdykdGaEdOuKAzi]a)iqaRlyh}f,sLe}byhTbsi{hVBZdNf!mvavbtY:doibg)igm}mZz*fwh]",
    "dflDmHctb=a#a#bhaZb2g7kIcej}B&cmb0f(e$n%ead5b@tGc$x5hEgio)g[tNgyc|niaho@c!t4qhcjdmRIBhsbp_zLhSnxf:",
    "s6a)hci1KmbCfPmrn3cCd-mxa7fYHOgfaTi@a:f+gUoOUee@vYhum%gQpXb7ele^c@UBpxdmj(hjejaCjhf^akf#hVkIszrKfI",
    "kRdmgYc{hJAYl<t>e|atk}iHjUpwwiacp?n#d]bIg?i<o@lMdQqvn2czdNdhleblgecEh7QEazblf^p5cgaqg$aCazc:bhpViU",
    "g<c<qhhyh}d7eNwWb{h1eQqMf;cjbsFelJc@cIl4j;fKf1bJkZkMg_aXmAiKwFdmi[bwa4j_m#UqedhZb!gIoXhwbAdykGc(k_",
    "eFmYrvg~bCeedqe[d>l;lDvpx_c}t$L[w-e1i0aUjLENevjJXPlojgt[q;a?rcamhGlJwmdCgpd{hLgEpQeVlVm9dFl2kPikoc",
    "c1dPq;dsamhWcoy[mNb$c|xYuaa?YcaNf;cDa&h!e1fMala[joedd:d=a|a&lDgHb*cRlFfxzat+f@gebXngpee8b6AnEKjHc#",
    "igv@s$c_e9g0xTq3k:uVd|gNczypq:b0cdbIeHd&blg|dNj%FDg3bGjYeMbUa]hzb6Mqfda-mWv[pFgcy1qWbUiFoia_aVe;o9",
    "b)o5azb^oCb,sca|gDaOnOa:hibRa8bFiDktizbUgIrKIob4eblXe!dzKwl=bZdaf%aYn6iVhHhBo]bEg[Ose_eqjCa-bCp8ah",
    "rshnb0hwa(f*c*GAn*a#g6bFclh>dMj(c&sRmunpaUg_hdb#iza{f<nkameBc2aEdFoufaj]e6jqaME8xFeGlAsDediRd$cqo+",
    "jda8klbxrKd2vFa;f4c7g<i9gXhLegu9midocPcWhNa^jmj;h}aEcgj1cYplc?eXaeARaQjIgQb%bwP(k[eZg:c+mth^Mwb<j[",
    "d^i1xKaffNthq]fqbWtzffmockdtbUozd%s<cjtyg?w=chhumwnrh&fXcjokgAoae0g[cdk&o(dBg}o[f3U*huj#aUscg%sigB",
    "gtf&j]qzyCL;k4pPgtpoCAe3lubYe>dPk!L5moa~l1cymRa|d+nEF_bZc2k@[4i5aGbJi1gTbQg_BLerdMhkj#b|a(D+s7AqfT",
    "aca;bUbgHadHgJddc[f+e~aXp&xfdCm4a,e8huttE[dpBlgPddlwxva}Vkb_pFa[rHd)aHlqB5s5gcw#1Db>y[uIhKd1d?dNVe",
    "ejp4mll|fOa,aOgej)aCz)q1a_e]fvpNcyr7v,j2c5cNbEe,r@i<aOe)c3bKc*g}b:hhdTg$aCkndUysbPcQiVc!plaNaNqGoz",
)

_OF_BUCKETS = ("max_device_power_w",)
"""Numbers that decide before the exchange only, not in what a shard folds."""


def stem(key: str, entry: int) -> str:
    """The name of a key's entry but for its letters; 0 is the base."""
    return f"{key}.{entry:02d}"


def _ring(key: str, letters: str) -> Ring:
    pairs = [letters[at : at + 2] for at in range(0, len(letters), 2)]
    base, *slots = (stem(key, entry) + pair for entry, pair in enumerate(pairs))
    return Ring(base, tuple(slots))


def journals() -> dict[str, Journal]:
    """How the steps of the emissions job are kept."""
    shards = {key: _ring(key, letters) for key, letters in zip(SHARDS, _SHARD_LETTERS, strict=True)}
    zones = {key: _ring(key, letters) for key, letters in zip(ZONES, _ZONE_LETTERS, strict=True)}
    return {"ledger": Journal(shards, pack, unpack), "zones": Journal(zones, pack_zones, unpack_zones)}


def with_journals(job: Job, config: LedgerConfig) -> Job:
    """The emissions job for one start, with the state of its steps kept by journals."""
    era = ", ".join(f"{name} {value}" for name, value in asdict(config).items() if name not in _OF_BUCKETS)
    return journaled(job, journals(), era=era)
