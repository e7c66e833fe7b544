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
