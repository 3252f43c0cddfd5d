//! What `istioctl analyze` says, and what we say in its place.

use super::Code;
use Counterpart::{None, Same};

/// A kind of message of `istioctl analyze`.
#[derive(Debug, Clone, Copy)]
pub struct IstioMessage {
    /// Its code, such as `IST0101`.
    pub code: &'static str,
    /// Its name, in Istio's words.
    pub name: &'static str,
    /// What we say in its place.
    pub ours: Counterpart,
}

/// What we say in the place of a message of Istio's.
#[derive(Debug, Clone, Copy)]
pub enum Counterpart {
    /// One of these codes.
    Same(&'static [Code]),
    /// Nothing, for this reason: one sentence with a full stop.
    None(&'static str),
}

/// What refuses an object when it is read.
const REFUSALS: &[Code] = &[
    Code::BrokenYaml,
    Code::NotAnObject,
    Code::BadMetadata,
    Code::UnknownKind,
    Code::UnknownVersion,
    Code::UnknownField,
    Code::WrongType,
    Code::MissingField,
    Code::BadValue,
    Code::UnknownEnum,
    Code::BadDuration,
    Code::BadRegex,
    Code::BadHost,
    Code::Conflict,
    Code::Duplicate,
    Code::EmptyValue,
];

/// What is said of an object that is used all the same.
const DOUBTS: &[Code] = &[
    Code::UnsupportedKind,
    Code::FieldIgnored,
    Code::Deprecated,
    Code::NoEffect,
    Code::BroaderThanMeant,
    Code::WholeNamespace,
];

const NO_CLUSTER: &str = "It is about a cluster in which Istio runs, and nothing that is written.";
const RETIRED: &str = "Istio no longer says it.";
const NO_PROXY_IMAGE: &str = "There is no image of a proxy: it is a part of the one program.";
const CRD_VERSIONS: &str =
    "It is about the definitions that a cluster has; every served version of a kind is read here.";
const UPGRADE: &str = "It is about upgrades of Istio itself.";

macro_rules! messages {
    ($($number:literal $name:ident => $ours:expr;)*) => {
        /// Every message of `istioctl analyze`, from the first to the newest (Istio 1.32), in the
        /// order of their codes.
        pub static ISTIO_MESSAGES: &[IstioMessage] = &[$(IstioMessage {
            code: concat!("IST", $number),
            name: stringify!($name),
            ours: $ours,
        },)*];
    };
}

messages! {
    "0001" InternalError => None("A mistake of ours ends the command with an error of its own.");
    "0002" Deprecated => Same(&[Code::Deprecated]);
    "0101" ReferencedResourceNotFound => Same(&[
        Code::HostNotFound, Code::SubsetNotFound, Code::GatewayNotFound,
        Code::GatewayWithoutWorkload, Code::SecretNotFound, Code::ProviderNotFound,
        Code::MissingNamespace,
    ]);
    "0102" NamespaceNotInjected => None("Every pod gets a sidecar, whatever its namespace says.");
    "0103" PodMissingProxy => None(NO_CLUSTER);
    "0104" GatewayPortNotOnWorkload => Same(&[Code::GatewayPortNotOnService]);
    "0105" IstioProxyImageMismatch => None(NO_PROXY_IMAGE);
    "0106" SchemaValidationError => Same(REFUSALS);
    "0107" MisplacedAnnotation => Same(&[Code::MisplacedAnnotation]);
    "0108" UnknownAnnotation => Same(&[Code::UnknownAnnotation]);
    "0109" ConflictingMeshGatewayVirtualServiceHosts => Same(&[Code::HostConflict]);
    "0110" ConflictingSidecarWorkloadSelectors => Same(&[Code::PolicyShadowed]);
    "0111" MultipleSidecarsWithoutWorkloadSelectors => Same(&[Code::PolicyShadowed]);
    "0112" VirtualServiceDestinationPortSelectorRequired => Same(&[Code::PortRequired]);
    "0113" MTLSPolicyConflict => Same(&[Code::MutualTlsConflict]);
    "0114" PolicySpecifiesPortNameThatDoesntExist => None(RETIRED);
    "0115" DestinationRuleUsesMTLSForWorkloadWithoutSidecar => None(RETIRED);
    "0116" DeploymentAssociatedToMultipleServices => Same(&[Code::PortProtocolConflict]);
    "0117" DeploymentRequiresServiceAssociated => Same(&[Code::WorkloadWithoutService]);
    "0118" PortNameIsNotUnderNamingConvention => Same(&[Code::ProtocolNotDeclared]);
    "0119" JwtFailureDueToInvalidServicePortPrefix => Same(&[Code::BroaderThanMeant]);
    "0120" PolicyResourceIsDeprecated => None(RETIRED);
    "0121" MeshPolicyResourceIsDeprecated => None(RETIRED);
    "0122" InvalidRegexp => Same(&[Code::BadRegex]);
    "0123" NamespaceMultipleInjectionLabels => Same(&[Code::InjectionLabels]);
    "0124" NamespaceInvalidInjectorRevision => None(RETIRED);
    "0125" InvalidAnnotation => Same(&[Code::BadAnnotation]);
    "0126" UnknownMeshNetworksServiceRegistry =>
        None("Networks are joined by their addresses; the registry that a network names is not asked.");
    "0127" NoMatchingWorkloadsFound => Same(&[Code::SelectorMatchesNothing, Code::GatewayWithoutWorkload]);
    "0128" NoServerCertificateVerificationDestinationLevel => Same(&[Code::SystemRoots]);
    "0129" NoServerCertificateVerificationPortLevel => Same(&[Code::SystemRoots]);
    "0130" VirtualServiceUnreachableRule => Same(&[Code::UnreachableRule]);
    "0131" VirtualServiceIneffectiveMatch => Same(&[Code::DuplicateMatch]);
    "0132" VirtualServiceHostNotFoundInGateway => Same(&[Code::HostNotOnGateway, Code::GatewayNotFound]);
    "0133" SchemaWarning => Same(DOUBTS);
    "0134" ServiceEntryAddressesRequired => Same(&[Code::AddressMissing]);
    "0135" DeprecatedAnnotation => Same(&[Code::Deprecated]);
    "0136" AlphaAnnotation => None("How mature a feature of Istio is says nothing of ours.");
    "0137" DeploymentConflictingPorts => Same(&[Code::PortNumberConflict]);
    "0138" GatewayDuplicateCertificate => Same(&[Code::SharedCertificate]);
    "0139" InvalidWebhook => None(NO_CLUSTER);
    "0140" IngressRouteRulesNotAffected => Same(&[Code::RulesNotAtGateway]);
    "0141" InsufficientPermissions => None(NO_CLUSTER);
    "0142" UnsupportedKubernetesVersion => None(NO_CLUSTER);
    "0143" LocalhostListener => None("It takes a running pod to see where it listens.");
    "0144" InvalidApplicationUID => Same(&[Code::ReservedUser]);
    "0145" ConflictingGateways => Same(&[Code::GatewayConflict]);
    "0146" ImageAutoWithoutInjectionWarning => Same(&[Code::ImageNotInjected]);
    "0147" ImageAutoWithoutInjectionError => Same(&[Code::ImageNotInjected]);
    "0148" NamespaceInjectionEnabledByDefault => None("Every pod gets a sidecar, whatever its namespace says.");
    "0149" JwtClaimBasedRoutingWithoutRequestAuthN => Same(&[Code::TokenNeverChecked]);
    "0150" ExternalNameServiceTypeInvalidPortName => Same(&[Code::ExternalNamePort]);
    "0151" EnvoyFilterUsesRelativeOperation => Same(&[Code::PatchOrder]);
    "0152" EnvoyFilterUsesReplaceOperationIncorrectly => Same(&[Code::PatchIgnored]);
    "0153" EnvoyFilterUsesAddOperationIncorrectly => Same(&[Code::PatchIgnored]);
    "0154" EnvoyFilterUsesRemoveOperationIncorrectly => Same(&[Code::PatchIgnored]);
    "0155" EnvoyFilterUsesRelativeOperationWithProxyVersion => Same(&[Code::PatchOrder]);
    "0156" UnsupportedGatewayAPIVersion => None(CRD_VERSIONS);
    "0157" InvalidTelemetryProvider => Same(&[Code::NoEffect, Code::ProviderNotFound]);
    "0158" PodsIstioProxyImageMismatchInNamespace => None(NO_PROXY_IMAGE);
    "0159" ConflictingTelemetryWorkloadSelectors => Same(&[Code::PolicyShadowed]);
    "0160" MultipleTelemetriesWithoutWorkloadSelectors => Same(&[Code::PolicyShadowed]);
    "0161" InvalidGatewayCredential => Same(&[Code::BadCredential, Code::KeyMismatch]);
    "0162" GatewayPortNotDefinedOnService => Same(&[Code::GatewayPortNotOnService]);
    "0163" InvalidExternalControlPlaneConfig => None(NO_CLUSTER);
    "0164" ExternalControlPlaneAddressIsNotAHostname => None(NO_CLUSTER);
    "0165" ReferencedInternalGateway => Same(&[Code::InternalGateway]);
    "0166" IneffectiveSelector =>
        None("Gateways of the Gateway API are not planned yet, so that no selector takes their pods.");
    "0167" IneffectivePolicy => Same(&[Code::NoEffect]);
    "0168" UnknownUpgradeCompatibility => None(UPGRADE);
    "0169" UpdateIncompatibility => None(UPGRADE);
    "0170" MultiClusterInconsistentService => None("Objects of one cluster are read at a time.");
    "0171" NegativeConditionStatus =>
        None("A status is what somebody else found earlier; what is wrong is found out here anew.");
    "0172" FutureUnsupportedGatewayAPIVersion => None(CRD_VERSIONS);
    "0173" DestinationRuleSubsetNotSelectPods => Same(&[Code::SubsetWithoutEndpoints]);
    "0174" UnknownDestinationRuleHost => Same(&[Code::HostNotFound, Code::DestinationRuleUnused]);
    "0175" JwksUriFetchUnrestricted => None("It is about the environment of istiod.");
    "0176" GatewayAPICRDVersionBelowMinimum => None(CRD_VERSIONS);
    "0177" ConflictingServiceEntryProtocol => Same(&[Code::ServiceEntryConflict]);
}

impl IstioMessage {
    /// The message of a code of Istio's.
    #[must_use]
    pub fn of(code: &str) -> Option<&'static Self> {
        ISTIO_MESSAGES.iter().find(|message| message.code == code)
    }

    /// Whether one of our codes stands for the message.
    #[must_use]
    pub fn is_said_by(&self, code: Code) -> bool {
        match self.ours {
            Same(codes) => codes.contains(&code),
            None(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_stands_once_and_in_order() {
        assert!(ISTIO_MESSAGES.is_sorted_by(|one, next| one.code < next.code));
        assert!(ISTIO_MESSAGES.iter().all(|it| match it.ours {
            Same(codes) => !codes.is_empty(),
            None(why) => why.ends_with('.'),
        }));
    }
}
