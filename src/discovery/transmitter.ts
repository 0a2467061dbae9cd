import { DELIVERY_METHOD } from '../oauth/names.ts'
import { endpointsOf } from '../streams/endpoints.ts'
import { jwksUri } from './metadata.ts'

/** What receivers of Shared Signals ask for first (SSF §7, EV-33): the token endpoint is in the server's metadata. */
export function transmitterMetadata(issuer: string) {
  const endpoints = endpointsOf(issuer)
  return {
    spec_version: '1_0',
    issuer,
    jwks_uri: jwksUri(issuer),
    delivery_methods_supported: [DELIVERY_METHOD.push, DELIVERY_METHOD.poll],
    configuration_endpoint: endpoints.configuration,
    status_endpoint: endpoints.status,
    add_subject_endpoint: endpoints.addSubject,
    remove_subject_endpoint: endpoints.removeSubject,
    verification_endpoint: endpoints.verification,
    // Whoever does not understand the user of a complex subject has understood nothing of it.
    critical_subject_members: ['user'],
    authorization_schemes: [{ spec_urn: 'urn:ietf:rfc:6749' }],
    default_subjects: 'NONE',
  }
}
