# Deliveries carry a token, only of the named containers, and are repeated for a day.

mock_provider "azurerm" {}

variables {
  endpoint           = "https://events.example.com/"
  resource_group     = "data"
  location           = "westeurope"
  storage_account_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/data/providers/Microsoft.Storage/storageAccounts/sales"
  containers         = { orders = "in/" }
  tenant_id          = "00000000-0000-0000-0000-000000000001"
  application_id     = "api://etl-runner"
}

run "events_of_a_container" {
  command = apply

  variables {
    dead_letter_container = "dead"
  }

  assert {
    condition     = azurerm_eventgrid_system_topic_event_subscription.this.event_delivery_schema == "CloudEventSchemaV1_0" && azurerm_eventgrid_system_topic_event_subscription.this.included_event_types == tolist(["Microsoft.Storage.BlobCreated"])
    error_message = "events are not CloudEvents of created blobs"
  }
  assert {
    condition     = alltrue([for w in azurerm_eventgrid_system_topic_event_subscription.this.webhook_endpoint : length(w.active_directory_tenant_id) > 0 && length(w.active_directory_app_id_or_uri) > 0 && w.max_events_per_batch == 1])
    error_message = "deliveries carry no token, or more than one event"
  }
  assert {
    condition     = azurerm_eventgrid_system_topic_event_subscription.this.advanced_filter[0].string_begins_with[0].values == tolist(["/blobServices/default/containers/orders/blobs/in/"])
    error_message = "events of other containers are sent"
  }
  assert {
    condition     = azurerm_eventgrid_system_topic_event_subscription.this.retry_policy[0].event_time_to_live == 1440 && length(azurerm_eventgrid_system_topic_event_subscription.this.storage_blob_dead_letter_destination) == 1
    error_message = "what can not be delivered is not repeated for a day, or lost"
  }
}

run "wrong_variables" {
  command = plan

  variables {
    endpoint           = "https://events.example.com/?key=1"
    storage_account_id = "sales"
    containers         = {}
  }

  expect_failures = [var.endpoint, var.storage_account_id, var.containers]
}

run "dead_letters_among_what_is_loaded" {
  command = plan

  variables {
    dead_letter_container = "orders"
  }

  expect_failures = [azurerm_eventgrid_system_topic_event_subscription.this]
}
