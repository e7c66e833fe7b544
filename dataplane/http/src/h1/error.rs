//! Why a message was refused: vocabularies that an operator can count. A name is what the access log and the metrics say; the sentence is
//! for people. Nothing of the peer's bytes is in either.

use std::fmt;

/// Declares a flat enum whose variants carry a countable name and a sentence; the sentence is the variant's documentation as well.
macro_rules! vocabulary {
    (
        $(#[$attribute:meta])*
        $enum:ident { $($variant:ident => $name:literal, $sentence:literal;)+ $(.. $wrapper:ident($inner:ident))? }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum {
            $(#[doc = $sentence] $variant,)+
            $(/// What is wrong in either direction.
            $wrapper($inner),)?
        }

        impl $enum {
            /// The countable name, as in `response_code_details`.
            pub fn name(self) -> &'static str {
                match self {
                    $($enum::$variant => concat!("http1.", $name),)+
                    $($enum::$wrapper(inner) => inner.name(),)?
                }
            }

            /// The sentence for people.
            pub fn sentence(self) -> &'static str {
                match self {
                    $($enum::$variant => $sentence,)+
                    $($enum::$wrapper(inner) => inner.sentence(),)?
                }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.sentence())
            }
        }

        impl std::error::Error for $enum {}

        $(impl From<$inner> for $enum {
            fn from(inner: $inner) -> Self {
                $enum::$wrapper(inner)
            }
        })?
    };
}

vocabulary! {
    /// What can be wrong with a head in either direction.
    HeadError {
        BareLf => "bare_lf", "A line ends in LF alone (RFC 9112 §2.2).";
        BareCr => "bare_cr", "A CR is not followed by LF (RFC 9112 §2.2).";
        SpaceBeforeFirstField => "space_before_first_field", "White space stands between the start-line and the first field (RFC 9112 §2.2).";
        ObsFold => "obs_fold", "A field line is folded (RFC 9112 §5.2).";
        SpaceBeforeColon => "space_before_colon", "White space stands between a field's name and its colon (RFC 9112 §5.1).";
        FieldName => "field_name", "A field name is empty or no token (RFC 9110 §5.1).";
        FieldValue => "field_value", "A field value has a control character (RFC 9110 §5.5).";
        TooLong => "head_too_long", "The head is longer than allowed.";
        TooManyFields => "too_many_fields", "The head has more lines than allowed.";
        ContentLengthInvalid => "content_length_invalid", "Content-Length is not one decimal number of 1 to 19 digits (RFC 9110 §8.6).";
        ContentLengthTwice => "content_length_twice", "There is more than one Content-Length (RFC 9112 §6.3).";
        ContentLengthAndTransferEncoding => "content_length_and_transfer_encoding", "Content-Length and Transfer-Encoding are both there (RFC 9112 §6.1).";
        TransferEncodingInHttp10 => "transfer_encoding_in_http10", "An HTTP/1.0 message has Transfer-Encoding (RFC 9112 §6.1).";
        TransferEncodingInvalid => "transfer_encoding_invalid", "Transfer-Encoding is not exactly one `chunked` (RFC 9112 §6.1).";
        TransferCodingUnknown => "transfer_coding_unknown", "A transfer coding other than chunked is asked for (RFC 9112 §6.1).";
        ConnectionInvalid => "connection_invalid", "Connection has an option that is no token, or too many options (RFC 9110 §7.6.1).";
        ConnectionNamesEndToEnd => "connection_names_end_to_end", "Connection names a field that is meant for the recipient of the message (RFC 9110 §7.6.1).";
    }
}

vocabulary! {
    /// Why a request head was refused.
    RequestError {
        EmptyLines => "empty_lines", "More than one empty line precedes the request-line (RFC 9112 §2.2).";
        RequestLine => "request_line", "The request-line is not METHOD SP target SP HTTP-version (RFC 9112 §3).";
        MethodTooLong => "method_too_long", "The method is longer than any known one (RFC 9112 §3).";
        VersionUnknown => "version_unknown", "The version is neither HTTP/1.0 nor HTTP/1.1 (RFC 9110 §15.6.6).";
        TargetTooLong => "target_too_long", "The request-target is longer than allowed (RFC 9112 §3).";
        TargetInvalid => "target_invalid", "The request-target has a character that must be percent-encoded (RFC 3986 §2).";
        TargetFragment => "target_fragment", "The request-target has a fragment (RFC 9112 §3.2).";
        TargetNul => "target_nul", "The request-target has an encoded NUL.";
        TargetForm => "target_form", "The request-target is of a form that its method does not have, or of none (RFC 9112 §3.2).";
        HostMissing => "host_missing", "An HTTP/1.1 request has no Host (RFC 9112 §3.2).";
        HostTwice => "host_twice", "There is more than one Host (RFC 9112 §3.2).";
        AuthorityInvalid => "authority_invalid", "The authority is not one host with at most one port (RFC 9110 §4.2.1).";
        ExpectationUnknown => "expectation_unknown", "Expect asks for something other than 100-continue (RFC 9110 §10.1.1).";
        UnderscoreInName => "underscore_in_name", "A field name has an underscore, which some readers take for a hyphen.";
        SingleValuedTwice => "single_valued_twice", "A field that has one value is there twice (RFC 9110 §5.3).";
        .. Head(HeadError)
    }
}

impl RequestError {
    /// The status to answer with; the connection closes afterwards.
    pub fn status(self) -> u16 {
        match self {
            RequestError::Head(HeadError::TooLong | HeadError::TooManyFields) => 431,
            RequestError::Head(HeadError::TransferCodingUnknown) | RequestError::MethodTooLong => 501,
            RequestError::VersionUnknown => 505,
            RequestError::TargetTooLong => 414,
            RequestError::ExpectationUnknown => 417,
            _ => 400,
        }
    }
}

vocabulary! {
    /// Why a response head was refused; the client gets 502.
    ResponseError {
        StatusLine => "status_line", "The status-line is not HTTP-version SP status-code SP reason (RFC 9112 §4).";
        VersionUnknown => "version_unknown", "The version is neither HTTP/1.0 nor HTTP/1.1 (RFC 9110 §15.6.6).";
        StatusInvalid => "status_invalid", "The status code is below 100 (RFC 9110 §15).";
        TransferEncodingNotAllowed => "transfer_encoding_not_allowed", "A 1xx or 204 has Transfer-Encoding (RFC 9112 §6.1).";
        ContentLengthNotAllowed => "content_length_not_allowed", "A 1xx or 204 has a Content-Length other than 0 (RFC 9110 §8.6).";
        SwitchingProtocols => "switching_protocols", "A 101 is no complete WebSocket handshake (RFC 6455 §4.1).";
        .. Head(HeadError)
    }
}

vocabulary! {
    /// Why a body was refused; the message is lost, and its connection with it.
    BodyError {
        ChunkSize => "chunk_size", "A chunk size is not 1 to 16 hexadecimal digits, or above 2^63-1 (RFC 9112 §7.1).";
        ChunkExtension => "chunk_extension", "A chunk extension is not ;token[=token|quoted-string] (RFC 9112 §7.1.1).";
        ChunkExtensionTooLong => "chunk_extension_too_long", "A chunk extension, or all of them together, are longer than allowed.";
        ChunkLineEnd => "chunk_line_end", "A chunk-size line does not end in CRLF (RFC 9112 §7.1).";
        ChunkDataEnd => "chunk_data_end", "A chunk's data is not followed by CRLF (RFC 9112 §7.1).";
        TrailerName => "trailer_name", "A trailer field's name is empty or no token (RFC 9110 §5.1).";
        TrailerValue => "trailer_value", "A trailer field's value has a control character or a bare line end (RFC 9110 §5.5).";
        TrailersTooLong => "trailers_too_long", "The trailer section is longer than allowed.";
        Truncated => "truncated", "The connection closed before the body's end (RFC 9112 §8).";
    }
}

/// The head does not fit into the buffer it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadTooLong;

impl fmt::Display for HeadTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The head does not fit into its buffer.")
    }
}

impl std::error::Error for HeadTooLong {}
