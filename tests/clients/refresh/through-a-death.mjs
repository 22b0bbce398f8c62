// What both programs tell the suite: whether ten calls at once are answered after the session has died.
export async function tell(salesforce, before) {
  const path = '/services/data/v60.0/limits'
  await salesforce.request(path)
  // Whoever runs this ends the session meanwhile.
  await fetch(process.env.BETWEEN_URL)
  const limits = await Promise.all(Array.from({ length: 10 }, () => salesforce.request(path)))
  console.log(JSON.stringify({ before, after: salesforce.accessToken, answers: limits.length }))
}
