// Lists the Event Log Files of the last logins. Needs nothing but Go: `go run token.go`.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"
)

var client = &http.Client{Timeout: 15 * time.Second}

func get(url, bearer string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return body, err
}

func main() {
	body, err := get(os.Getenv("AQUILA_URL")+"/token", os.Getenv("AQUILA_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	var token struct {
		AccessToken string `json:"access_token"`
		InstanceURL string `json:"instance_url"`
	}
	if err := json.Unmarshal(body, &token); err != nil {
		log.Fatal(err)
	}

	query := "SELECT Id, EventType, LogDate, LogFile FROM EventLogFile WHERE EventType = 'Login'"
	files, err := get(token.InstanceURL+"/services/data/v60.0/query?q="+url.QueryEscape(query), token.AccessToken)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(files))
}
