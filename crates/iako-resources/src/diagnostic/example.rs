//! A wrong and a right way to write, for each code.

use super::Code;

/// A wrong and a right way to write.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// Documents in which the problem is found.
    pub wrong: &'static str,
    /// The same documents without it.
    pub right: &'static str,
}

/// What an example shows.
const WRONG: &str = "# wrong\n";
const RIGHT: &str = "# right\n";

macro_rules! examples {
    ($($name:ident $number:literal;)*) => {
        /// The files of examples: first what is wrong, then what is right.
        static EXAMPLES: &[(Code, &str)] =
            &[$((Code::$name, include_str!(concat!("examples/", $number, ".yaml"))),)*];
    };
}

examples! {
    BrokenYaml "0002";
    DuplicateKey "0004";
    NotAnObject "0005";
    BadMetadata "0006";
    UnknownKind "0007";
    UnknownVersion "0008";
    DuplicateObject "0010";
    SurprisingScalar "0012";
    UnknownField "0020";
    WrongType "0021";
    MissingField "0022";
    BadValue "0023";
    UnknownEnum "0024";
    BadDuration "0025";
    BadRegex "0026";
    BadHost "0027";
    Conflict "0028";
    Duplicate "0029";
    EmptyValue "0030";
    RuleBroken "0031";
    Deprecated "0042";
    NoEffect "0043";
    UnreachableRule "0044";
    BroaderThanMeant "0045";
    WholeNamespace "0046";
    HostNotFound "0100";
    SubsetNotFound "0101";
    GatewayNotFound "0102";
    PortNotFound "0104";
    PortRequired "0105";
    HostConflict "0106";
    HostNotOnGateway "0107";
    SelectorMatchesNothing "0108";
    SubsetWithoutEndpoints "0109";
    ServiceWithoutEndpoints "0110";
    TargetPortNotFound "0111";
    ProtocolNotDeclared "0112";
    SecretNotFound "0113";
    MutualTlsConflict "0114";
    IdentityWithoutMutualTls "0115";
    TokenNeverChecked "0116";
    PolicyShadowed "0117";
    ProviderNotFound "0118";
    DestinationRuleUnused "0119";
    DenyAll "0120";
    GatewayConflict "0121";
    WorkloadWithoutService "0122";
    MissingNamespace "0123";
    ServiceEntryConflict "0124";
    PortProtocolConflict "0125";
    PortNumberConflict "0126";
    SystemRoots "0127";
    AddressMissing "0128";
    SharedCertificate "0129";
    GatewayPortNotOnService "0130";
    InternalGateway "0131";
    DuplicateMatch "0132";
    WeightSum "0133";
    RulesNotAtGateway "0134";
    TokenNotRequired "0135";
    RetriesDoNotFit "0136";
    MisplacedAnnotation "0137";
    UnknownAnnotation "0138";
    BadAnnotation "0139";
    InjectionLabels "0140";
    ReservedUser "0141";
    ImageNotInjected "0142";
    ExternalNamePort "0143";
    PrincipalNotFound "0148";
    PolicyPortNotFound "0149";
    EgressHostNotFound "0150";
    NeverMatches "0151";
    DelegateNotFound "0152";
    DelegateUnused "0153";
    PatchOrder "0154";
    PatchIgnored "0155";
}

/// Codes without an example, and why: one sentence with a full stop.
static WITHOUT: &[(Code, &str)] = &[
    (Code::UnreadableFile, "It is about a file, and not about what stands in it."),
    (Code::DocumentLimit, "What exceeds a limit is too long to be shown."),
    (Code::UnsupportedKind, "Which kinds are carried changes with every version."),
    (Code::KeptLastGood, "It is about an edit while a mesh runs."),
    (Code::FieldRefused, "Which fields are carried changes with every version."),
    (Code::FieldIgnored, "Which fields are carried changes with every version."),
    (Code::GatewayWithoutWorkload, "A gateway is assumed for every Gateway here."),
    (Code::BadCredential, "Certificates and keys are too long to be shown."),
    (Code::CertificateExpires, "Certificates and keys are too long to be shown."),
    (Code::KeyMismatch, "Certificates and keys are too long to be shown."),
    (Code::CertificateWithoutHost, "Certificates and keys are too long to be shown."),
];

impl Code {
    /// A wrong and a right way to write; `None` for a code that no text alone can show.
    #[must_use]
    pub fn example(self) -> Option<Example> {
        let (_, text) = EXAMPLES.iter().find(|(code, _)| *code == self)?;
        let (wrong, right) = text.strip_prefix(WRONG)?.split_once(RIGHT)?;
        Some(Example { wrong, right })
    }

    /// Why there is no example.
    #[must_use]
    pub fn without_example(self) -> Option<&'static str> {
        WITHOUT.iter().find(|(code, _)| *code == self).map(|(_, why)| *why)
    }
}
