// docs: begin
const ClientOAuth2 = require('client-oauth2')

const { AQUILA_URL, AQUILA_CALLER, AQUILA_KEY } = process.env
const client = new ClientOAuth2({
  clientId: AQUILA_CALLER,
  clientSecret: AQUILA_KEY,
  accessTokenUri: `${AQUILA_URL}/token`,
})
const asked = client.credentials.getToken()
// docs: end

asked.then((token) => {
  if (token.expired()) throw new Error('the client takes the token for expired')
  const seconds_left = (token.expires.getTime() - Date.now()) / 1000
  console.log(JSON.stringify({ access_token: token.accessToken, seconds_left }))
})
