//! Response flags and details: the vocabulary of Envoy's access log that users grep for.

/// `%RESPONSE_FLAGS%`, one a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Flag {
    /// Nothing to say.
    #[default]
    None,
    /// No route.
    NR,
    /// No cluster.
    NC,
    /// No healthy upstream.
    UH,
    /// Upstream connection failure.
    UF,
    /// Upstream connection termination.
    UC,
    /// Upstream overflow (a limit of the cluster).
    UO,
    /// Upstream request timeout.
    UT,
    /// Upstream protocol error.
    UPE,
    /// Downstream connection termination.
    DC,
    /// Downstream protocol error.
    DPE,
    /// Downstream timeout: the client was too slow with head or body.
    DT,
    /// Overload: memory for unsent bytes is spent.
    OM,
    /// On-demand config did not arrive in time.
    CT,
    /// Delayed by an injected fault.
    DI,
    /// Answered by an injected fault.
    FI,
    /// Both, one after the other.
    DIFI,
    /// The retries are used up, and the last answer is passed on.
    URX,
    /// As UF, with the retries used up.
    #[allow(non_camel_case_types)]
    UF_URX,
    /// As UC, with the retries used up.
    #[allow(non_camel_case_types)]
    UC_URX,
    /// As UT, with the retries used up.
    #[allow(non_camel_case_types)]
    UT_URX,
    /// As UPE, with the retries used up.
    #[allow(non_camel_case_types)]
    UPE_URX,
    /// As UF, with the retry budget spent.
    #[allow(non_camel_case_types)]
    UF_UO,
    /// As UC, with the retry budget spent.
    #[allow(non_camel_case_types)]
    UC_UO,
    /// As UT, with the retry budget spent.
    #[allow(non_camel_case_types)]
    UT_UO,
    /// As UPE, with the retry budget spent.
    #[allow(non_camel_case_types)]
    UPE_UO,
}

impl Flag {
    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Flag::None => "-",
            Flag::NR => "NR",
            Flag::NC => "NC",
            Flag::UH => "UH",
            Flag::UF => "UF",
            Flag::UC => "UC",
            Flag::UO => "UO",
            Flag::UT => "UT",
            Flag::UPE => "UPE",
            Flag::DC => "DC",
            Flag::DPE => "DPE",
            Flag::DT => "DT",
            Flag::OM => "OM",
            Flag::CT => "CT",
            Flag::DI => "DI",
            Flag::FI => "FI",
            Flag::DIFI => "DI,FI",
            Flag::URX => "URX",
            Flag::UF_URX => "UF,URX",
            Flag::UC_URX => "UC,URX",
            Flag::UT_URX => "UT,URX",
            Flag::UPE_URX => "URX,UPE",
            Flag::UF_UO => "UF,UO",
            Flag::UC_UO => "UC,UO",
            Flag::UT_UO => "UT,UO",
            Flag::UPE_UO => "UO,UPE",
        }
    }

    /// The flag of a failure after which there was no further try, because there had been as many as there may be.
    pub fn with_retries_exhausted(self) -> Flag {
        match self {
            Flag::UF => Flag::UF_URX,
            Flag::UC => Flag::UC_URX,
            Flag::UT => Flag::UT_URX,
            Flag::UPE => Flag::UPE_URX,
            Flag::None => Flag::URX,
            other => other,
        }
    }

    /// The same, because the cluster's retry budget was spent.
    pub fn with_overflow(self) -> Flag {
        match self {
            Flag::UF => Flag::UF_UO,
            Flag::UC => Flag::UC_UO,
            Flag::UT => Flag::UT_UO,
            Flag::UPE => Flag::UPE_UO,
            Flag::None => Flag::UO,
            other => other,
        }
    }

    /// The flag called `name`, for flags that arrive as policy's text.
    pub fn from_name(name: &str) -> Flag {
        match name {
            "NR" => Flag::NR,
            "NC" => Flag::NC,
            "UH" => Flag::UH,
            "UO" => Flag::UO,
            "FI" => Flag::FI,
            _ => Flag::None,
        }
    }

    /// This one, for a request that had `earlier`. What ended a request outweighs a delay before it.
    pub fn after(self, earlier: Flag) -> Flag {
        match (earlier, self) {
            (Flag::DI, Flag::FI) => Flag::DIFI,
            (Flag::DI, Flag::None) => Flag::DI,
            (_, later) => later,
        }
    }
}
