//! The types of events that there are files of, with the columns that Salesforce documents for each.

/// A type of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum EventType {
    Api,
    ApexExecution,
    BulkApi,
    LightningPageView,
    Login,
    Logout,
    Report,
    ReportExport,
    RestApi,
    Uri,
}

/// All of them; the place of a type in here is part of its files' ids.
pub(super) const EVENT_TYPES: [EventType; 10] = [
    EventType::Login,
    EventType::Api,
    EventType::LightningPageView,
    EventType::Logout,
    EventType::RestApi,
    EventType::ReportExport,
    EventType::Report,
    EventType::ApexExecution,
    EventType::Uri,
    EventType::BulkApi,
];

impl EventType {
    /// As the column `EventType` has it; the cells write `LightningPageView` so, too.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Api => "API",
            Self::ApexExecution => "ApexExecution",
            Self::BulkApi => "BulkApi",
            Self::LightningPageView => "LightningPageView",
            Self::Login => "Login",
            Self::Logout => "Logout",
            Self::Report => "Report",
            Self::ReportExport => "ReportExport",
            Self::RestApi => "RestApi",
            Self::Uri => "URI",
        }
    }

    /// The columns of the file, in order, with commas between.
    pub(in super::super) fn columns(self) -> &'static str {
        match self {
            Self::Api => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,RUN_TIME,CPU_TIME,URI,SESSION_KEY,\
                 LOGIN_KEY,USER_TYPE,REQUEST_STATUS,DB_TOTAL_TIME,API_TYPE,API_VERSION,CLIENT_NAME,METHOD_NAME,\
                 ENTITY_NAME,ROWS_PROCESSED,REQUEST_SIZE,RESPONSE_SIZE,DB_BLOCKS,DB_CPU_TIME,QUERY,\
                 TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP,URI_ID_DERIVED"
            }
            Self::ApexExecution => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,RUN_TIME,CPU_TIME,URI,SESSION_KEY,\
                 LOGIN_KEY,EXEC_TIME,DB_TOTAL_TIME,CALLOUT_TIME,NUMBER_SOQL_QUERIES,ENTRY_POINT,QUIDDITY,\
                 IS_LONG_RUNNING_REQUEST,TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP,URI_ID_DERIVED"
            }
            Self::BulkApi => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,RUN_TIME,CPU_TIME,URI,SESSION_KEY,\
                 LOGIN_KEY,USER_TYPE,JOB_ID,BATCH_ID,OPERATION_TYPE,ENTITY_TYPE,ROWS_PROCESSED,NUMBER_FAILURES,\
                 SUCCESS,MESSAGE,TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP"
            }
            Self::LightningPageView => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,CLIENT_ID,SESSION_KEY,LOGIN_KEY,\
                 USER_TYPE,APP_NAME,DEVICE_PLATFORM,SDK_APP_VERSION,OS_NAME,OS_VERSION,USER_AGENT,BROWSER_NAME,\
                 BROWSER_VERSION,PAGE_START_TIME,DURATION,EFFECTIVE_PAGE_TIME,PAGE_URL,PAGE_ENTITY_ID,\
                 PAGE_ENTITY_TYPE,PAGE_CONTEXT,UI_EVENT_ID,UI_EVENT_SOURCE,UI_EVENT_TYPE,\
                 UI_EVENT_SEQUENCE_NUM,CONNECTION_TYPE,TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP"
            }
            Self::Login => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,RUN_TIME,CPU_TIME,URI,SESSION_KEY,\
                 LOGIN_KEY,USER_TYPE,REQUEST_STATUS,DB_TOTAL_TIME,LOGIN_TYPE,BROWSER_TYPE,API_TYPE,API_VERSION,\
                 USER_NAME,TLS_PROTOCOL,CIPHER_SUITE,AUTHENTICATION_METHOD_REFERENCE,LOGIN_SUB_TYPE,\
                 TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP,URI_ID_DERIVED,LOGIN_STATUS,SOURCE_IP,\
                 FORWARDED_FOR_IP"
            }
            Self::Logout => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,SESSION_KEY,LOGIN_KEY,USER_TYPE,\
                 API_TYPE,API_VERSION,APP_TYPE,BROWSER_TYPE,PLATFORM_TYPE,RESOLUTION_TYPE,SESSION_TYPE,\
                 SESSION_LEVEL,USER_INITIATED_LOGOUT,TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP"
            }
            Self::Report => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,RUN_TIME,CPU_TIME,URI,SESSION_KEY,\
                 LOGIN_KEY,USER_TYPE,REQUEST_STATUS,DB_TOTAL_TIME,ENTITY_NAME,DISPLAY_TYPE,RENDERING_TYPE,\
                 REPORT_ID,ROW_COUNT,NUMBER_EXCEPTION_FILTERS,NUMBER_COLUMNS,AVERAGE_ROW_SIZE,SORT,DB_BLOCKS,\
                 DB_CPU_TIME,NUMBER_BUCKETS,ORIGIN,TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP,\
                 URI_ID_DERIVED,REPORT_ID_DERIVED"
            }
            Self::ReportExport => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,URI,SESSION_KEY,LOGIN_KEY,USER_TYPE,\
                 REPORT_DESCRIPTION,CLIENT_INFO,TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP,URI_ID_DERIVED"
            }
            Self::RestApi => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,RUN_TIME,CPU_TIME,URI,SESSION_KEY,\
                 LOGIN_KEY,USER_TYPE,REQUEST_STATUS,DB_TOTAL_TIME,METHOD,MEDIA_TYPE,STATUS_CODE,USER_AGENT,\
                 ROWS_PROCESSED,NUMBER_FIELDS,DB_BLOCKS,DB_CPU_TIME,REQUEST_SIZE,RESPONSE_SIZE,ENTITY_NAME,\
                 EXCEPTION_MESSAGE,CONNECTED_APP_ID,TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP,\
                 URI_ID_DERIVED"
            }
            Self::Uri => {
                "EVENT_TYPE,TIMESTAMP,REQUEST_ID,ORGANIZATION_ID,USER_ID,RUN_TIME,CPU_TIME,URI,SESSION_KEY,\
                 LOGIN_KEY,USER_TYPE,REQUEST_STATUS,DB_TOTAL_TIME,DB_BLOCKS,DB_CPU_TIME,REFERRER_URI,\
                 TIMESTAMP_DERIVED,USER_ID_DERIVED,CLIENT_IP,URI_ID_DERIVED"
            }
        }
    }
}
