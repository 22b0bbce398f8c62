// An issuer: npm `oidc-provider` with one client, which gets access tokens in JWT form (RFC 9068) for the broker.
import { generateKeyPairSync } from 'node:crypto'
import Provider from 'oidc-provider'

const { ISSUER_PORT, ISSUER_KID, ISSUER_CLIENT, ISSUER_SECRET, AUDIENCE } = process.env
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const resource = { scope: '', audience: AUDIENCE, accessTokenTTL: 300, accessTokenFormat: 'jwt' }

const provider = new Provider(`http://localhost:${ISSUER_PORT}`, {
  clients: [
    {
      client_id: ISSUER_CLIENT,
      client_secret: ISSUER_SECRET,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    },
  ],
  cookies: { keys: [ISSUER_SECRET] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      getResourceServerInfo: () => resource,
      useGrantedResource: () => true,
    },
  },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: ISSUER_KID, alg: 'RS256', use: 'sig' }] },
})
provider.listen(Number(ISSUER_PORT), '127.0.0.1')
