// Lists the Event Log Files of the last logins. Needs nothing but Node 20 or newer.
const get = async (url, bearer) => {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${bearer}` }, signal: AbortSignal.timeout(15_000) })
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
  return answer.json()
}

const token = await get(`${process.env.AQUILA_URL}/token`, process.env.AQUILA_KEY)
const query = "SELECT Id, EventType, LogDate, LogFile FROM EventLogFile WHERE EventType = 'Login'"
const url = `${token.instance_url}/services/data/v60.0/query?q=${encodeURIComponent(query)}`
console.log(JSON.stringify(await get(url, token.access_token)))
