// docs: begin
const { ClientCredentials } = require('simple-oauth2')

const { AQUILA_URL, AQUILA_CALLER, AQUILA_KEY } = process.env
const client = new ClientCredentials({
  client: { id: AQUILA_CALLER, secret: AQUILA_KEY },
  auth: { tokenHost: AQUILA_URL, tokenPath: '/token' },
})
const asked = client.getToken({})
// docs: end

asked.then((token) => {
  if (token.expired()) throw new Error('the client takes the token for expired')
  const seconds_left = (token.token.expires_at.getTime() - Date.now()) / 1000
  console.log(JSON.stringify({ access_token: token.token.access_token, seconds_left }))
})
